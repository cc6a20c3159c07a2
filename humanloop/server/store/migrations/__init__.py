"""The history of the database's schema, run by humanloop.server.store.migrate."""
