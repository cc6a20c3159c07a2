"""The export of logs from a database, and their import into one."""
