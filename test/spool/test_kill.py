"""Applications and servers that are killed while logging: each returned log is stored once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .conftest import free_port
from .killing import kill_while_logging

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")


@pytest.mark.parametrize("limit", [0, 30_000])
def test_everything_that_was_returned_is_there_once(tmp_path: Path, limit: int) -> None:
    found = kill_while_logging(tmp_path, free_port(), kills=3, server_kills=2, limit=limit)
    assert (found.lost, found.doubled, found.comments_doubled) == (0, 0, 0)
    assert (found.left, found.set_aside) == (0, 0)
    assert found.returned > 600
    assert bool(found.full) == bool(limit)
