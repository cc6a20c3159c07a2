"""What the client costs, beside the original, pydantic, msgspec and bare Python: see README.md."""
