"""The embedded server, tested through HTTP on the loopback interface."""
