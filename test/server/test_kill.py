"""The server's process is killed while it writes: acknowledged logs exist, and no partial ones."""

from __future__ import annotations

import signal

import pytest

from .databases import query
from .killing import kill_while_writing

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")


def test_nothing_that_was_acknowledged_is_lost(database_url: str) -> None:
    is_sqlite = database_url.startswith("sqlite")
    found = kill_while_writing(database_url, servers=1 if is_sqlite else 2, wanted=400, kills=2)
    assert (found.lost, found.doubled) == (0, 0)
    if is_sqlite:
        assert query(database_url, "PRAGMA integrity_check") == [("ok",)]
