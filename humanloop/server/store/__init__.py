"""The database: its tables, its schema's history, ids and times, and who may call."""
