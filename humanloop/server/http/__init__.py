"""The HTTP side: requests, answers, and the running server."""
