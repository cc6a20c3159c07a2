"""Applications and servers that are killed while logging, and the logs that exist in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subprocesses import environment

from humanloop import Humanloop

KEY = "hl_key-of-the-tests"
# Python 3.12 and later warn of any fork beside a thread.
WARNINGS = "error,ignore:This process:DeprecationWarning"

APPLICATION = """
import os, resource, sys, threading
from humanloop import Humanloop, SpoolFullError, SpoolOptions

directory, host, key, processes, limit = sys.argv[1:]
# Without a bound, a server that takes long to start would have too much to store at the end.
options = SpoolOptions(directory + "/spool", max_bytes=1_000_000, when_full="block")
client = Humanloop(key, host, spool=options, retries=1)

def work(number):
    told = os.open(f"{directory}/told-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    tried = 0
    while True:
        tried += 1
        # Now and then the disk is full: a file may be no longer than this.
        if int(limit) and tried // 50 % 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
        try:
            reference = client.log_later(
                project="kill", config={"model": "m"}, output=f"{number} {tried}" * 20
            )
        except SpoolFullError:
            reference = "-"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        os.write(told, reference.encode() + b"\\n")
        if tried % 5 == 0 and reference != "-":
            client.feedback_later(type="comment", value="c", reference_id=reference)
        threading.Event().wait(0.001)

client.log_later(project="kill", config={"model": "m"}, output="first", reference_id="first")
for number in range(int(processes) - 1):
    if os.fork() == 0:
        work(number)
work(int(processes))
"""


@dataclass(frozen=True)
class Found:
    """The counts of logs in the end; full: the number of logs refused because the disk was full."""

    returned: int
    kept: int
    lost: int
    doubled: int
    full: int
    comments_doubled: int
    left: int
    set_aside: int


def _serve(directory: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "humanloop", "serve", "--port", str(port), "--api-key", KEY]
    process = subprocess.Popen(
        [*command, "--database", f"sqlite:///{directory / 'own.db'}"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "/v4" in line:
            return process
    raise AssertionError("it did not start")


def _begin(directory: Path, host: str, processes: int, limit: int) -> subprocess.Popen[bytes]:
    """Start a group of processes that log: one process and its forks."""
    arguments = [str(directory), host, KEY, str(processes), str(limit)]
    return subprocess.Popen(
        [sys.executable, "-c", APPLICATION, *arguments],
        env=environment(PYTHONWARNINGS=WARNINGS),
        start_new_session=True,
    )


def _told(directory: Path) -> Counter[str]:
    """Return the whole lines that the processes wrote after `log_later` had returned."""
    lines: Counter[str] = Counter()
    for path in directory.glob("told-*"):
        lines.update(path.read_text().split("\n")[:-1])
    return lines


def kill_while_logging(
    directory: Path, port: int, kills: int, server_kills: int, *, limit: int = 0
) -> Found:
    """Let four processes log, two of them forked, and kill all of them at once, `kills` times.

    limit: the largest size of a file, in bytes, for some of the time; 0: no limit.
    """
    host, chance = f"http://127.0.0.1:{port}/v4", random.Random(7)
    server = _serve(directory, port)
    for kill in range(kills):
        groups = [_begin(directory, host, 2, limit) for _ in range(2)]
        wanted = _told(directory).total() + chance.randrange(200, 400)
        while _told(directory).total() < wanted:
            assert all(group.poll() is None for group in groups)
            time.sleep(0.01)
        if kill * server_kills // kills < (kill + 1) * server_kills // kills:
            server.kill()
            server.communicate()
            server = _serve(directory, port)
        for group in groups:
            os.killpg(group.pid, signal.SIGKILL)
            group.wait()
    told = _told(directory)
    full = told.pop("-", 0)
    with Humanloop(KEY, host, spool=directory / "spool", bodies="plain") as client:
        flushed = client.flush(120)
        set_aside = client.spool.stats().set_aside
        projects: Any = client.projects.list(filter="kill").body
        logs: Any = client.projects.iterate_export(id=projects["records"][0]["id"], size=100)
        records = [*logs]
    server.terminate()
    server.communicate()
    kept = Counter(record["reference_id"] for record in records)
    comments = sum(max(0, len(record["feedback"]) - 1) for record in records)
    bad = sum(len(path.read_text().splitlines()) for path in directory.glob("spool/*/*.bad"))
    return Found(
        told.total(),
        kept.total(),
        len(told.keys() - kept.keys()),
        kept.total() - len(kept),
        full,
        comments,
        flushed.left,
        max(bad, set_aside),
    )


def main() -> None:
    """Run it for long: `python -m spool.killing DIRECTORY PORT KILLS SERVER_KILLS LIMIT`."""
    directory, *numbers = sys.argv[1:]
    port, kills, server_kills, limit = map(int, numbers)
    print(
        json.dumps(
            kill_while_logging(Path(directory), port, kills, server_kills, limit=limit).__dict__
        )
    )


if __name__ == "__main__":
    main()
