"""`python -m humanloop`: the command `humanloop`."""

import sys

from humanloop.cli import main

sys.exit(main())
