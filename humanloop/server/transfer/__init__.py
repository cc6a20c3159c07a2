"""Logs out of a database into files, and back into one."""
