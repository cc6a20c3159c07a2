"""Every request: what it passes, and the servers that take it."""
