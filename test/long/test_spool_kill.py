"""The measure of `spool.killing` at length: 20 kills of applications, 10 of the server."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from spool.conftest import free_port
from spool.killing import kill_while_logging

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")


@pytest.mark.parametrize("limit", [0, 30_000], ids=["", "and the disk is full at times"])
def test_everything_that_was_returned_is_there_once(tmp_path: Path, limit: int) -> None:
    found = kill_while_logging(tmp_path, free_port(), kills=20, server_kills=10, limit=limit)
    print(found)
    assert (found.lost, found.doubled, found.comments_doubled) == (0, 0, 0)
    assert (found.left, found.set_aside) == (0, 0)
    assert bool(found.full) == bool(limit)
