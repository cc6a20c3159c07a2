"""Real models and other people's servers and SDKs, in the tox environment `models`."""
