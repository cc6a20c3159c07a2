"""The schema runtime, tested through `humanloop.schemas` and `humanloop.model`."""
