"""The database: its tables, its schema's history, ids and times, and the accounts of callers."""
