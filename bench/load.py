"""Load on the embedded server: logs per second, and the time of a request beside large arrays.

    python -m bench.load                              # this checkout
    python -m bench.load --against ../other-checkout  # both in turns, and the ratios
    python -m bench.load --grow 1000000 --chart docs/server-growth.svg
    python -m bench.load --database postgresql --workers 1 2
    python -m bench.load --database postgresql --grow 1000000

Each server is a process of its own on a fresh SQLite file, or several on a fresh PostgreSQL, which
syncs each commit. The client writes bytes to sockets, so that it needs little CPU time. At the end,
all acknowledged logs are counted in the database. The output is the medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bench import chart, postgres

ROOT = Path(__file__).parents[1]
KEY = "hl_load"
OURS = f"X-API-KEY: {KEY}\r\nContent-Type: application/json\r\n"
THREADS = 8
LARGE = 20_000


class Connection:
    """A kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(
        self, method: str, path: str, body: bytes = b"", *, base: str = "/v4", headers: str = OURS
    ) -> bytes:
        """Return the body of the answer, which must be successful."""
        head = (
            f"{method} {base}{path} HTTP/1.1\r\nHost: localhost\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head_bytes, _, answer = received.partition(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head_bytes.lower())
        length = int(found[1]) if found else 0
        parts = [answer]
        while (missing := length - sum(map(len, parts))) > 0:
            parts.append(self._receive(missing))
        whole = b"".join(parts)
        if head_bytes[9:10] != b"2":
            raise SystemExit(f"{method} {path}: {head_bytes[:40]!r} {whole[:400]!r}")
        return whole

    def _receive(self, size: int = 65536) -> bytes:
        data = self._socket.recv(min(size, 1 << 20))
        if not data:
            raise SystemExit("the server closed a connection")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def log(number: int) -> dict[str, Any]:
    """Return a datapoint as chat applications send it."""
    return {
        "project": "load",
        "config": {"model": "gpt-4", "temperature": 0.5, "prompt_template": "Say {{ what }}."},
        "inputs": {"what": f"number {number}", "context": "some text of the usual length " * 4},
        "output": f"The number is {number}. " * 8,
        "duration": 0.75,
        "metadata": {"tenant": number % 10},
    }


def encoded(value: Any) -> bytes:
    """Return JSON in UTF-8."""
    return json.dumps(value).encode()


class Data:
    """A fresh database: its URL, the count of its datapoints, and its process, if it has one."""

    def __init__(self, url: str, count: Callable[[], int], pid: int | None = None) -> None:
        self.url = url
        self.count = count
        self.pid = pid


@contextmanager
def sqlite(directory: Path) -> Generator[Data]:
    """Yield a file that does not exist yet."""
    path = directory / "load.db"

    def count() -> int:
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute(_COUNT).fetchone()[0])

    yield Data(f"sqlite:///{path}", count)


@contextmanager
def postgresql(_directory: Path) -> Generator[Data]:
    """Run a PostgreSQL."""
    with postgres.running() as running, running.database() as url:
        name = url.partition("?")[0].rpartition("/")[2]
        yield Data(url, lambda: int(running.execute(_COUNT, name)[0][0]), running.pid)


_COUNT = "SELECT count(*) FROM logs"
_DATABASES = {"sqlite": sqlite, "postgresql": postgresql}


def _cpu(pid: int) -> float:
    """Return the seconds of CPU of a process and its children, including ended ones."""
    ticks = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = stat.read_text().partition(" ")
        except OSError:  # it has just ended
            continue
        fields = rest.rpartition(")")[2].split()
        if int(number) == pid or int(fields[1]) == pid:
            ticks += sum(map(int, fields[11:15] if int(number) == pid else fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Server:
    """A running server, and its address."""

    def __init__(self, process: subprocess.Popen[str], port: int, data: Data) -> None:
        self.process = process
        self.port = port
        self.kept = data.count
        self._data = data

    def cpu(self) -> dict[str, float]:
        """Return the seconds of CPU of the server, and of its database, so far."""
        found = {"": _cpu(self.process.pid)}
        if self._data.pid is not None:
            found["PostgreSQL's "] = _cpu(self._data.pid)
        return found


@contextmanager
def serving(checkout: Path, database: str = "sqlite", workers: int = 1) -> Generator[Server]:
    """Run a checkout's server on a fresh database."""
    with (
        tempfile.TemporaryDirectory(prefix="humanloop-load-") as directory,
        _DATABASES[database](Path(directory)) as data,
    ):
        command = [sys.executable, "-m", "humanloop", "serve", "--port", "0", "--api-key", KEY]
        several = ["--workers", str(workers)] if workers > 1 else []
        process = subprocess.Popen(
            [*command, "--database", data.url, *several],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            cwd=directory,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        printed = ""
        while (found := re.search(r"http://[^/]+:(\d+)/v4", printed)) is None:
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the server did not start")
            printed += line
        try:
            yield Server(process, int(found[1]), data)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()


class Lane:
    """Calls in threads until stopped: their number, and the time of each."""

    def __init__(
        self, server: Server, threads: int, call: Callable[[Connection, int], object]
    ) -> None:
        self.times: list[float] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(server.port, call, number))
            for number in range(threads)
        ]

    def _run(self, port: int, call: Callable[[Connection, int], object], number: int) -> None:
        connection = Connection(port)
        while not self._stop.is_set():
            started = time.perf_counter()
            call(connection, number)
            self.times.append(time.perf_counter() - started)
            number += len(self._threads)
        connection.close()

    def __enter__(self) -> Lane:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def quantile(self, share: float) -> float:
        """Return the milliseconds within which this share of the calls was answered."""
        return sorted(self.times)[int(share * (len(self.times) - 1))] * 1000


def _post(number: int, size: int | None = None) -> bytes:
    if size is None:
        return encoded(log(number))
    return encoded([log(number * size + each) for each in range(size)])


def _throughput(server: Server, seconds: float, size: int | None, threads: int) -> dict[str, float]:
    bodies = [_post(number, size) for number in range(threads)]

    def call(connection: Connection, number: int) -> None:
        connection.call("POST", "/logs", bodies[number % threads])

    before, cpu = server.kept(), server.cpu()
    started = time.perf_counter()
    with Lane(server, threads, call) as lane:
        time.sleep(seconds)
    elapsed = time.perf_counter() - started
    acknowledged = len(lane.times) * (size or 1)
    kept = server.kept() - before
    if kept != acknowledged:
        raise SystemExit(f"{acknowledged} logs were acknowledged, {kept} were kept")
    name = "single" if size is None else f"array of {size}"
    return {
        f"{name}: logs/s": kept / elapsed,
        **{
            f"{name}: {whose}CPU ms per log": (spent - cpu[whose]) / kept * 1000
            for whose, spent in server.cpu().items()
        },
        f"{name}: p50 ms": lane.quantile(0.5),
        f"{name}: p99 ms": lane.quantile(0.99),
    }


def _beside_large(server: Server) -> dict[str, float]:
    """Measure a log, a page and the active config while a large array is written."""
    body, single = _post(0, LARGE), _post(1)
    connection = Connection(server.port)
    project_id = json.loads(connection.call("POST", "/logs", single))["project_id"]
    calls: dict[str, Callable[[Connection, int], object]] = {
        "log": lambda each, _: each.call("POST", "/logs", single),
        "page": lambda each, _: each.call("POST", f"/projects/{project_id}/export?size=10"),
        "active config": lambda each, _: each.call("GET", f"/projects/{project_id}/active-config"),
    }
    found: dict[str, float] = {}
    for name, call in calls.items():
        with Lane(server, 2, call) as lane:
            started = time.perf_counter()
            connection.call("POST", "/logs", body)
            elapsed = time.perf_counter() - started
        found[f"{name} beside {LARGE}: p99 ms"] = lane.quantile(0.99)
        found[f"{name} beside {LARGE}: max ms"] = lane.quantile(1)
        found[f"array of {LARGE} beside: logs/s"] = LARGE / elapsed
    connection.close()
    return found


def measure(
    checkout: Path,
    seconds: float,
    database: str = "sqlite",
    workers: int = 1,
    threads: int = THREADS,
) -> dict[str, float]:
    """Return the measurements of one fresh server, with that many logging threads."""
    with serving(checkout, database, workers) as server:
        connection = Connection(server.port)
        connection.call("POST", "/logs", _post(0))
        connection.close()
        return {
            **_throughput(server, seconds, None, threads),
            **_throughput(server, seconds, 100, threads),
            **_beside_large(server),
        }


def grow(logs: int, database: str = "sqlite") -> list[chart.Measured]:
    """Let a database grow; return the milliseconds of each operation at some of its sizes."""
    found: list[chart.Measured] = []
    with serving(ROOT, database) as server:
        connection, number = Connection(server.port), 0

        def call(method: str, path: str, body: Any = None) -> Any:
            data = b"" if body is None else encoded(body)
            return json.loads(connection.call(method, path, data))

        ids = _begin(call)
        for size in (logs // 100, logs // 30, logs // 10, logs // 3, logs):
            while number < size:
                many = range(number, number + min(5000, size - number))
                part = [grown(each) for each in many]
                for each in part[::_TRIAL_EVERY]:
                    del each["config"]
                    drawn = call("GET", f"/experiments/{ids['experiment']}/model-config")
                    each["trial_id"] = drawn["trial_id"]
                    each["feedback"] = {"type": "rating", "value": "good"}
                answers = call("POST", "/logs", part)
                ids["session"], ids["log"] = answers[-1]["session_id"], answers[-1]["id"]
                number += len(part)
            for name, (method, path, body) in _operations(ids, number).items():
                data = b"" if body is None else encoded(body)
                times: list[float] = []
                for _ in range(25):
                    started = time.perf_counter()
                    connection.call(method, path, data)
                    times.append((time.perf_counter() - started) * 1000)
                found.append((name, number, statistics.median(times)))
        connection.close()
    return found


_TRIAL_EVERY = 100
"""One in this many logs belongs to a trial."""


def _begin(call: Callable[..., Any]) -> dict[str, str]:
    """Begin a growing database: with an experiment."""
    project = call("POST", "/logs", log(0))["project_id"]
    [config] = call("GET", f"/projects/{project}/configs")
    config_id = config["config"]["id"]
    body = {
        "name": "load",
        "positive_labels": [{"type": "rating", "value": "good"}],
        "config_ids": [config_id],
    }
    experiment = call("POST", f"/projects/{project}/experiments", body)["id"]
    return {"project": project, "config": config_id, "experiment": experiment}


def grown(number: int) -> dict[str, Any]:
    """Return a datapoint of a growing database: in a session, some with feedback."""
    more: dict[str, Any] = {"session_reference_id": f"session {number // 10}"}
    if number % 5 == 0:
        more["feedback"] = {"type": "rating", "value": ("good", "bad")[number % 2]}
    config = {"model": "gpt-4", "temperature": number % 10}
    return {**log(number), "config": config, **more}


def _operations(ids: dict[str, str], logs: int) -> dict[str, tuple[str, str, Any]]:
    project = f"/projects/{ids['project']}"
    export, sessions = f"{project}/export?size=10&page=", f"/sessions?project_id={ids['project']}"
    rating = {"data_id": ids["log"], "type": "rating", "value": "good"}
    return {
        "log": ("POST", "/logs", grown(0)),
        "array of 100": ("POST", "/logs", [grown(each) for each in range(100)]),
        "update of a log": ("PATCH", f"/logs/{ids['log']}", {"output": "new"}),
        "feedback": ("POST", "/feedback", rating),
        "first page": ("POST", f"{export}0", None),
        "page in the middle": ("POST", f"{export}{logs // 20}", None),
        "last page": ("POST", f"{export}{logs // 10 - 1}", None),
        "active config": ("GET", f"{project}/active-config", None),
        "projects": ("GET", "/projects", None),
        "project": ("GET", project, None),
        "configs": ("GET", f"{project}/configs", None),
        "config": ("GET", f"/model-configs/{ids['config']}", None),
        "deployed configs": ("GET", f"{project}/deployed-configs", None),
        "experiments": ("GET", f"{project}/experiments", None),
        "draw": ("GET", f"/experiments/{ids['experiment']}/model-config", None),
        "sessions": ("GET", sessions, None),
        "last page of sessions": ("GET", f"{sessions}&page={max(1, logs // 100)}", None),
        "session": ("GET", f"/sessions/{ids['session']}", None),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser("python -m bench.load", description=__doc__)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with this one")
    parser.add_argument("--seconds", type=float, default=5, help="of each measure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", choices=_DATABASES, default="sqlite")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1], help="processes, compared with each other"
    )
    parser.add_argument("--threads", type=int, default=THREADS, help="that log")
    parser.add_argument("--grow", type=int, metavar="LOGS", help="let a database grow instead")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="draw how it grew")
    options = parser.parse_args(arguments)
    if options.grow:
        points = grow(options.grow, options.database)
        for name, size, milliseconds in points:
            print(f"{name:<24}{size:>12,}{milliseconds:>10.2f} ms")
        if options.chart:
            options.chart.write_text(chart.operations(points), "utf-8")
        return
    checkouts = [ROOT, *([options.against.resolve()] if options.against else [])]
    cases = [(checkout, count) for checkout in checkouts for count in options.workers]
    rounds: list[list[dict[str, float]]] = [[] for _ in cases]
    for number in range(options.rounds):
        for index in range(len(cases)) if number % 2 else reversed(range(len(cases))):
            checkout, count = cases[index]
            rounds[index].append(
                measure(checkout, options.seconds, options.database, count, options.threads)
            )
    for name in rounds[0][0]:
        figures = [statistics.median(one[name] for one in each) for each in rounds]
        line = f"{name:<40}" + "".join(f"{figure:>12.2f}" for figure in figures)
        if len(figures) == 2:
            ratios = [ours[name] / theirs[name] for ours, theirs in zip(*rounds, strict=True)]
            line += f"{statistics.median(ratios):>12.2f}x"
        print(line)


if __name__ == "__main__":
    main()
