"""HTTP: requests in, answers out, and how the server runs."""
