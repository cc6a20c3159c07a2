"""The version of the package. A leaf, so that every module can name it."""

__version__ = "0.6.0"
