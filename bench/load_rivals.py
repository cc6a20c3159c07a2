"""Our server compared to MLflow's and Phoenix's: logs acknowledged and stored per second.

    python -m bench.load_rivals

Each server runs on a fresh SQLite file, started as its documentation says. Eight threads send the
same number of logs, one per request, as bytes encoded in advance. Ours gets POST /logs; the rivals
get an OpenTelemetry span with the same texts, by OTLP over HTTP, the only call by which both accept
a complete completion. Stored logs are counted in the file, until the last one has arrived there.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import environments, load

_START_SECONDS = 120
_STILL_SECONDS = 15
"""After this long without a new log in the file, no more are expected."""

_MAKE_SPAN = """
import json, sys
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
log, trace_id, span_id = json.loads(sys.argv[1])
request = ExportTraceServiceRequest()
span = request.resource_spans.add().scope_spans.add().spans.add()
span.name, span.kind = "completion", 3
span.trace_id, span.span_id = trace_id.encode(), span_id.encode()
span.start_time_unix_nano = 1_750_000_000_000_000_000
span.end_time_unix_nano = span.start_time_unix_nano + int(log["duration"] * 1e9)
config = log["config"]
for key, value in {
    "openinference.span.kind": "LLM",
    "llm.model_name": config["model"],
    "llm.invocation_parameters": json.dumps({"temperature": config["temperature"]}),
    "llm.prompt_template.template": config["prompt_template"],
    "llm.prompt_template.variables": json.dumps(log["inputs"]),
    "output.value": log["output"],
    "metadata": json.dumps(log["metadata"]),
}.items():
    attribute = span.attributes.add()
    attribute.key, attribute.value.string_value = key, value
sys.stdout.buffer.write(request.SerializeToString())
"""
_TRACE, _SPAN = "the-id-of-a-trac", "a-spans8"
"""Ids for the template of a span, of the usual sizes."""


@dataclass(frozen=True)
class Rival:
    """Another project's server: its command, and its storage of spans."""

    name: str
    command: Callable[[int, Path], Sequence[str]]
    settings: Callable[[int, Path], dict[str, str]]
    file: str
    headers: str = ""


RIVALS = (
    Rival(
        "mlflow",
        lambda port, place: (
            *("-m", "mlflow", "server", "--port", str(port)),
            *("--backend-store-uri", f"sqlite:///{place}/mlflow.db"),
            *("--default-artifact-root", str(place / "artifacts")),
        ),
        lambda _port, _place: {"MLFLOW_DISABLE_TELEMETRY": "true"},
        "mlflow.db",
        "x-mlflow-experiment-id: 0\r\n",
    ),
    Rival(
        "phoenix",
        lambda _port, _place: ("-m", "phoenix.server.main", "serve"),
        lambda port, place: {
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(_free_port()),
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_WORKING_DIR": str(place),
            "PHOENIX_TELEMETRY_ENABLED": "false",
        },
        "phoenix.db",
    ),
)


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _running(rival: Rival, python: str) -> Generator[tuple[int, Path]]:
    """Run a rival; yield its port and its file."""
    with tempfile.TemporaryDirectory(prefix=f"{rival.name}-load-") as directory:
        place, port = Path(directory), _free_port()
        with (place / "output.txt").open("wb") as output:
            process = subprocess.Popen(
                [python, *rival.command(port, place)],
                env={**os.environ, **rival.settings(port, place)},
                cwd=place,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _wait_for(port, process, place / "output.txt")
            yield port, place / rival.file
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"it did not start:\n{output.read_text('utf-8', 'replace')[-2000:]}")


def _count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _measure(send: Callable[[], Callable[[], object]], kept: Callable[[], int], logs: int) -> str:
    """Send logs; return a line of figures.

    send: opens a connection, and returns a function that sends one log. kept: counts the logs in
        the file.
    """
    before, share = kept(), logs // load.THREADS
    times: list[float] = []
    ready = threading.Barrier(load.THREADS + 1)

    def run() -> None:
        call = send()
        ready.wait()
        for _ in range(share):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)

    threads = [threading.Thread(target=run) for _ in range(load.THREADS)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    acknowledged = time.perf_counter() - started
    found, last = 0, acknowledged
    while found < share * load.THREADS and time.perf_counter() - started < last + _STILL_SECONDS:
        now = time.perf_counter() - started
        count = kept() - before
        if count > found:
            found, last = count, max(now, acknowledged)
        time.sleep(0.05)
    ordered = sorted(times)
    half, most = (ordered[int(part * (len(ordered) - 1))] * 1000 for part in (0.5, 0.99))
    figures = (len(times) / acknowledged, found / last, half, most)
    return "".join(f"{figure:>12.1f}" for figure in figures) + f"{found:>8} of {len(times)}"


def _ours(logs: int) -> str:
    body = load.encoded(load.log(1))
    with load.serving(load.ROOT) as server:
        first = load.Connection(server.port)
        first.call("POST", "/logs", body)
        first.close()

        def send() -> Callable[[], object]:
            connection = load.Connection(server.port)
            return lambda: connection.call("POST", "/logs", body)

        return _measure(send, server.kept, logs)


def _theirs(rival: Rival, python: str, logs: int) -> str:
    arguments = load.encoded([load.log(1), _TRACE, _SPAN]).decode()
    template = subprocess.run(
        [python, "-c", _MAKE_SPAN, arguments], check=True, capture_output=True
    ).stdout
    with _running(rival, python) as (port, path):

        def send() -> Callable[[], object]:
            connection = load.Connection(port)
            return lambda: connection.call(
                "POST",
                "/v1/traces",
                template.replace(_TRACE.encode(), secrets.token_bytes(16)).replace(
                    _SPAN.encode(), secrets.token_bytes(8)
                ),
                base="",
                headers=f"Content-Type: application/x-protobuf\r\n{rival.headers}",
            )

        first = send()
        for _ in range(20):
            first()
        _settle(path)
        return _measure(send, lambda: _count(path, "spans"), logs)


def _settle(path: Path) -> None:
    """Wait until the first logs, which warm the server up, are stored."""
    until = time.monotonic() + _STILL_SECONDS
    while _count(path, "spans") < 20 and time.monotonic() < until:
        time.sleep(0.1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a line for each server and round."""
    parser = argparse.ArgumentParser("python -m bench.load_rivals", description=__doc__)
    parser.add_argument("--logs", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[rival.name for rival in RIVALS])
    options = parser.parse_args(arguments)
    [(version, python)] = environments.pythons([]).items()
    rivals = [rival for rival in RIVALS if rival.name in options.only]
    pythons = {each.name: environments.make_one(each.name, version, python) for each in rivals}
    print(f"{'':<12}{'taken/s':>12}{'kept/s':>12}{'p50 ms':>12}{'p99 ms':>12}{'kept':>12}")
    for _ in range(options.rounds):
        print(f"{'humanloop':<12}{_ours(options.logs)}", flush=True)
        for each in rivals:
            print(f"{each.name:<12}{_theirs(each, pythons[each.name], options.logs)}", flush=True)


if __name__ == "__main__":
    main()
