"""`humanloop serve --workers N`: several processes on one port, as one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import urllib3
from subprocesses import environment

from ..api import API_KEY, Api
from ..databases import query, wait_for

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(sys.platform == "win32", reason="it has no process groups"),
]
SECONDS = 120  # after which a process hangs


@contextmanager
def serving(url: str, *options: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Run the command in a group of its own; gives the process, and what it has printed."""
    command = [sys.executable, "-m", "humanloop", "serve", "--port", "0", "--database", url]
    process = subprocess.Popen(
        [*command, "--workers", "2", *options],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if "Ctrl+C" in line:
            break
    try:
        yield process, printed
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def address(printed: str) -> str:
    """The URL in what was printed."""
    found = re.search(r"http://\S+/v4", printed)
    assert found is not None, printed
    return found[0]


def workers(process: subprocess.Popen[str]) -> set[int]:
    """The processes that serve."""
    psutil = pytest.importorskip("psutil")
    found = set[int]()
    for each in psutil.Process(process.pid).children():
        with suppress(psutil.Error):  # it has just ended
            if "spawn_main" in " ".join(each.cmdline()):
                found.add(each.pid)
    return found


def log(url: str) -> None:
    """Log over a new connection, again if a worker that was killed had accepted it."""
    for _ in range(5):
        try:
            Api(url).log("p")
        except urllib3.exceptions.HTTPError:
            continue
        return
    raise AssertionError("no worker answered")


@pytest.mark.parametrize(
    ("number", "are_replaced"), [(signal.SIGINT, True), (signal.SIGTERM, False)]
)
def test_workers_answer_as_one_are_replaced_and_stop_together(
    postgres_url: str, number: signal.Signals, are_replaced: bool
) -> None:
    with serving(postgres_url, "--api-key", API_KEY) as (process, printed):
        assert printed.count("is serving") == 1
        url = address(printed)
        for _ in range(10):
            log(url)
        first = workers(process)
        assert len(first) == 2
        if are_replaced:
            os.kill(min(first), signal.SIGKILL)
            wait_for(lambda: len(workers(process) - first) == 1)
            os.kill(max(first), signal.SIGTERM)
            wait_for(lambda: len(workers(process) - first) == 2)
        for _ in range(10):
            log(url)
        assert Api(url).ok("GET", "/projects")["records"][0]["data_count"] == 20
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        rest, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert rest.count("Stopped.") == 1
        assert "Traceback" not in rest
        assert rest.count("A worker ended") == (2 if are_replaced else 0)
    assert query(postgres_url, "SELECT count(*) FROM organizations") == [(1,)]


def test_a_key_that_is_made_is_for_all(postgres_url: str) -> None:
    with serving(postgres_url) as (_, printed):
        [key] = set(re.findall(r"hl_[\w-]+", printed))
        for _ in range(10):
            assert Api(address(printed), key).call("GET", "/projects").status == 200


def test_workers_end_when_their_parent_is_killed(postgres_url: str) -> None:
    psutil = pytest.importorskip("psutil")
    with serving(postgres_url) as (process, _):
        left = [psutil.Process(pid) for pid in workers(process)]
        process.kill()
        _, alive = psutil.wait_procs(left, timeout=SECONDS)
        assert alive == []


def test_a_worker_that_can_t_start_is_one_line(postgres_url: str) -> None:
    with serving(postgres_url, "--api-key", "no key") as (process, printed):
        assert process.wait(SECONDS) == 1
    assert printed.startswith("humanloop: An API key is made of visible ASCII characters")
    assert printed.count("\n") == 1


def test_sqlite_has_one_process(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'own.db'}") as (process, printed):
        assert process.wait(SECONDS) == 1
    message = "A SQLite file can be served by one process only, got 2: use PostgreSQL."
    assert printed == f"humanloop: {message}\n"
    assert list(tmp_path.iterdir()) == []
