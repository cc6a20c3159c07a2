"""The client's costs beside the original, pydantic, msgspec and plain Python: see README.md."""
