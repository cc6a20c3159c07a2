"""The engine that runs evaluators: a stranger's Python, in processes of a sandbox."""
