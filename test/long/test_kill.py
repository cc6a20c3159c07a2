"""The measure of `killing` at length: 10,000 datapoints, five kills, on each database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from server.databases import query
from server.killing import kill_while_writing

from bench.postgres import Missing, running

WANTED = int(os.environ.get("HUMANLOOP_TEST_KILLED_LOGS", "10000"))


def test_one_process_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'own.db'}"
    found = kill_while_writing(url, servers=1, wanted=WANTED, kills=5)
    print(found)
    assert (found.lost, found.doubled) == (0, 0)
    assert query(url, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("servers", [1, 2])
def test_processes_on_postgresql(servers: int) -> None:
    try:
        with running() as postgres, postgres.database() as url:
            found = kill_while_writing(url, servers=servers, wanted=WANTED, kills=5)
    except Missing as error:
        pytest.skip(str(error))
    print(found)
    assert (found.lost, found.doubled) == (0, 0)
