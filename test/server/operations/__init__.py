"""The operations, one module a tag."""
