"""Requests to models, and the handling of their answers."""
