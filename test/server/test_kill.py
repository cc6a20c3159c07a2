"""The server's process is killed while it writes: what was acknowledged is there, and no half."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from humanloop import cli
from humanloop.server.operations.logs import SLICE

from .api import API_KEY, Api

WRITERS = 8
LARGE = 20 * SLICE


def start(path: Path) -> tuple[subprocess.Popen[str], str]:
    """Run a server on the file; returns it and its URL."""
    command = [sys.executable, "-m", "humanloop.cli", "serve", "--port", "0", "--api-key", API_KEY]
    process = subprocess.Popen(
        [*command, "--database", f"sqlite:///{path}"],
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://\S+/v4", line):
            return process, found[0]
    raise AssertionError("it did not start")


def query(path: Path, statement: str) -> Any:
    """The first value that a statement finds."""
    with closing(sqlite3.connect(path, timeout=20)) as connection:
        return connection.execute(statement).fetchone()[0]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    acknowledged: set[str] = set()

    def write(url: str) -> None:
        api = Api(url)
        with suppress(urllib3.exceptions.HTTPError):
            while True:
                acknowledged.add(api.log("singles")["id"])

    def write_array(url: str) -> None:
        log = {"project": "array", "config": {"model": "m"}}
        with suppress(urllib3.exceptions.HTTPError):
            Api(url).call("POST", "/logs", [log] * LARGE)

    for _ in range(3):
        before = len(acknowledged)
        process, url = start(path)
        threads = [threading.Thread(target=write, args=(url,)) for _ in range(WRITERS)]
        threads.append(threading.Thread(target=write_array, args=(url,)))
        for thread in threads:
            thread.start()
        while len(acknowledged) < before + 50 or not query(path, "SELECT count(*) FROM batches"):
            pass
        while query(path, "SELECT count(*) FROM logs WHERE batch_id IS NOT NULL") < SLICE:
            pass
        process.kill()
        process.communicate()
        for thread in threads:
            thread.join()
    process, url = start(path)
    projects = {
        each["name"]: each["data_count"] for each in Api(url).ok("GET", "/projects")["records"]
    }
    process.terminate()
    process.communicate()
    assert projects.get("array", 0) % LARGE == 0
    assert projects["singles"] >= len(acknowledged)
    with closing(sqlite3.connect(path)) as connection:
        kept = {row[0] for row in connection.execute("SELECT id FROM logs")}
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert acknowledged <= kept
    assert len(kept) == sum(projects.values())
