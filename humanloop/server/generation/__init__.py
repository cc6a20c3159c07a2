"""Text from models: templates, providers, and the samples of a call."""
