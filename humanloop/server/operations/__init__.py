"""The API's operations: one module a tag, and what they have in common."""
