"""The API's operations: one module per tag, and their common parts."""
