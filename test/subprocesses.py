"""The environment of processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path

import humanloop


def environment(**more: str) -> dict[str, str]:
    """Return the variables of a program that imports this package, wherever it runs."""
    return {**os.environ, "PYTHONPATH": str(Path(humanloop.__file__).parents[1]), **more}
