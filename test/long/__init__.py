"""What takes too long for every run: `tox run -e long`."""
