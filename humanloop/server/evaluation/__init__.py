"""The engine that runs evaluators: untrusted Python, in sandboxed processes."""
