"""`python -m humanloop`: the command `humanloop`."""

import sys

from humanloop.cli import main

if __name__ == "__main__":
    sys.exit(main())
