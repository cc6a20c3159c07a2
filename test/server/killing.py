"""Server processes that are killed while many clients write: what is there in the end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import urllib3
from subprocesses import environment

from humanloop.server.operations.calls import SLICE

from .api import API_KEY, Api
from .databases import query

WRITERS = 8
LARGE = 20 * SLICE


def start(url: str, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Run a server on a database; return it and its address."""
    command = [sys.executable, "-m", "humanloop", "serve", "--port", "0", "--api-key", API_KEY]
    process = subprocess.Popen(
        [*command, "--database", url, *options],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://\S+/v4", line):
            return process, found[0]
    raise AssertionError("it did not start")


@dataclass
class Writing:
    """Clients that log, each datapoint with a mark of its own, at some servers by turns.

    Those with an even number give reference ids, and send again, to the next server, what was not
    answered. The others do not know what became of that.
    """

    addresses: list[str]
    wanted: int
    acknowledged: set[str] = field(default_factory=set[str])
    arrays: int = 0
    refused: list[str] = field(default_factory=list[str])

    def begin(self) -> list[threading.Thread]:
        """Start them, and one that logs large arrays."""
        threads = [threading.Thread(target=self._write, args=(n,)) for n in range(WRITERS)]
        threads.append(threading.Thread(target=self._write_arrays))
        for thread in threads:
            thread.start()
        return threads

    @property
    def is_done(self) -> bool:
        """Tell whether enough was acknowledged."""
        return len(self.acknowledged) >= self.wanted or bool(self.refused)

    def _write(self, writer: int) -> None:
        number = tries = 0
        while not self.is_done:
            mark = f"{writer} {number}"
            log = {"project": "singles", "config": {"model": "m"}, "source": mark}
            if writer % 2 == 0:
                log["reference_id"] = mark
            if self._send(log, writer + number + tries, tries):
                self.acknowledged.add(mark)
            elif writer % 2 == 0:
                tries += 1
                continue
            number, tries = number + 1, 0

    def _send(self, body: Any, server: int, tries: int) -> bool:
        api = Api(self.addresses[server % len(self.addresses)])
        headers = {"content_type": "application/json", "x_retry_count": str(tries)}
        try:
            answer = api.send("POST", "/logs", json.dumps(body).encode(), **headers)
        except urllib3.exceptions.HTTPError:
            return False
        if answer.status not in {200, 503}:
            self.refused.append(answer.text)
        return answer.status == 200

    def _write_arrays(self) -> None:
        number = 0
        while not self.is_done:
            log = {"project": "array", "config": {"model": "m"}, "source": "array"}
            self.arrays += self._send([log] * LARGE, number, 0)
            number += 1


@dataclass(frozen=True)
class Found:
    """What came of it: counts of datapoints, but for the arrays."""

    acknowledged: int
    kept: int
    lost: int
    doubled: int


def kill_while_writing(url: str, servers: int, wanted: int, kills: int) -> Found:
    """Let clients log until so many are acknowledged, while one server after another is killed."""
    running = [start(url) for _ in range(servers)]
    Api(running[0][1]).log("singles", source="first")
    writing = Writing([address for _, address in running], wanted)
    threads = writing.begin()
    for kill in range(kills):
        while len(writing.acknowledged) < wanted * (kill + 1) // (kills + 1):
            assert not writing.refused
            threading.Event().wait(0.005)
        victim = kill % servers
        running[victim][0].kill()
        running[victim][0].communicate()
        running[victim] = start(url)
        writing.addresses[victim] = running[victim][1]
    for thread in threads:
        thread.join()
    assert not writing.refused
    for process, _ in running:
        process.terminate()
        process.communicate()
    return _look(url, writing)


def _look(url: str, writing: Writing) -> Found:
    process, address = start(url)
    projects = Api(address).ok("GET", "/projects")["records"]
    process.terminate()
    process.communicate()
    counted = {each["name"]: each["data_count"] for each in projects}
    complete = "batch_id IS NULL OR batch_id NOT IN (SELECT id FROM batches)"
    marks = Counter(row[0] for row in query(url, f"SELECT source FROM logs WHERE {complete}"))
    arrays = marks.pop("array", 0)
    assert marks.pop("first") == 1
    assert counted.get("array", 0) == arrays
    assert arrays % LARGE == 0
    assert arrays // LARGE >= writing.arrays
    assert counted["singles"] == marks.total() + 1
    return Found(
        len(writing.acknowledged),
        marks.total(),
        len(writing.acknowledged - marks.keys()),
        marks.total() - len(marks),
    )
