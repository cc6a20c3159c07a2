"""The growth of time and memory with the payload, the errors, the classes, and with new shapes.

Runs in our environment. Each table should be flat: figures are per node, error or value; for
streams, also the memory of the process. Times are CPU times, sizes are of kept values.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from bench.chart import Point
from bench.contestants import ROOT, Ours
from bench.payloads import Maker

__all__ = ["KEPT", "main"]

KEPT = ROOT / "build" / "bench" / "growth.json"

SHORT = 100_000
"""The least number of timed nodes: smaller payloads are timed several times."""

CHUNK = 500
"""The number of values of a stream that are made in advance, outside the measured time."""


def _steps(most: int) -> Iterator[int]:
    step = 10
    while step <= most:
        yield step
        step *= 10


def _time(make: Callable[[], Any], times: int) -> float:
    """Return the seconds of one of `times` calls."""
    gc.collect()
    start = time.process_time()
    for _ in range(times):
        make()
    return (time.process_time() - start) / times


def _size(make: Callable[[], Any]) -> int:
    """Return the bytes that are kept."""
    gc.collect()
    tracemalloc.start()
    kept = make()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return size


def _held() -> float:
    """Return the MB of this process's memory, or the peak where only that is known."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        unit = 2**20 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return pages * resource.getpagesize() / 2**20


def _count(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, parts))


def _payload(most: int, points: list[Point]) -> Iterator[str]:
    bare = {"config": {"id": "c", "type": "generic", "name": "c"}, "id": "d"}
    item = {"name": "reset", "at": 12, "parts": [1.25, True, None, "prompt"]}
    log = Maker(3, 3).log()
    for name, one, schema in (
        ("metadata", item, "LogResponse"),
        ("small logs", bare, "PaginatedDataLogResponse"),
        ("logs", log, "PaginatedDataLogResponse"),
    ):
        parse = Ours("").parse(schema)
        for asked in _steps(most):
            many = [one] * (asked // _count(one))
            if not many:
                continue
            page = {"records": many, "page": 0, "size": 0, "total": 0}
            text = json.dumps({**bare, "metadata": {"items": many}} if one is item else page)
            nodes = _count(one) * len(many)
            make = partial(parse, text)
            if len(many) < 10:
                _time(make, 2)  # the second value compiles it
            times = max(1, SHORT // nodes)
            spent, size = _time(make, times), _size(make)
            gc.disable()
            alone = _time(make, times)
            gc.enable()
            per = f"{spent / nodes * 1e6:8.3f} µs, {alone / nodes * 1e6:.3f} without collector"
            points.append((name, nodes, spent / nodes * 1e6, size / nodes))
            yield f"{name:<10} {nodes:>10,} nodes   {per}   {size / nodes:8.1f} bytes a node"


def _errors(most: int) -> Iterator[str]:
    construct = Ours("").construct("PaginatedDataLogResponse")

    def refused(page: Any) -> None:
        with suppress(ValueError):
            construct(page)

    for count in _steps(most):
        records = [{"id": 5, "config": {"type": "generic", "id": "c"}} for _ in range(count // 2)]
        make = partial(refused, {"records": records, "page": 0, "size": 0, "total": 0})
        if count == 10:
            _time(make, 2)
        spent = _time(make, max(1, SHORT // 10 // count)) / count
        yield f"{'errors':<10} {count:>10,}         {spent * 1e6:8.3f} µs an error"


def _classes(most: int) -> Iterator[str]:
    from humanloop.schemas import schema_from_openapi

    part = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    classes: list[Callable[[Any], Any]] = []
    for count in _steps(most):
        while len(classes) < count:
            classes.append(schema_from_openapi(part, name=f"Class{len(classes)}"))
        values = [{"a": "text", "b": 1} for _ in range(20_000)]

        def use(values: list[Any] = values, count: int = count) -> None:
            for number, value in enumerate(values):
                classes[number % count](value)

        use()
        spent = _time(use, 10) / len(values)
        yield f"{'classes':<10} {count:>10,}         {spent * 1e6:8.3f} µs an instance"


def _stream(name: str, schema: str, draw: Callable[[int], Any], count: int) -> Iterator[str]:
    """Yield the growth of memory under values whose shapes never repeat."""
    construct = Ours("").construct(schema)
    tenth = max(1, count // 10)
    for part in range(10):
        spent = 0.0
        for first in range(part * tenth, part * tenth + tenth, CHUNK):
            values = [draw(n) for n in range(first, min(first + CHUNK, part * tenth + tenth))]
            start = time.process_time()
            for value in values:
                construct(value)
            spent += time.process_time() - start
        per = f"{spent / tenth * 1e6:8.3f} µs each   {_held():6.1f} MB held"
        yield f"{name:<10} {tenth * (part + 1):>10,}         {per}"


def _new_logs(count: int) -> Iterator[str]:
    maker = Maker(9, 9)
    return _stream(
        "new logs", "LogResponse", lambda _: json.loads(json.dumps(maker.new_log())), count
    )


def _new_labels(count: int) -> Iterator[str]:
    def draw(number: int) -> Any:
        return {"type": "rating", "value": f"value {number}", f"key_{number}": number / 8}

    return _stream("new labels", "PositiveLabel", draw, count)


def main() -> None:
    """Print the tables, for as many nodes as the first argument says, and keep the plotted data."""
    nodes, stream = int(sys.argv[1]), int(sys.argv[2])
    streams = _new_logs(stream), _new_labels(100 * stream)
    points: list[Point] = []
    for lines in (*streams, _classes(1000), _errors(nodes // 10), _payload(nodes, points)):
        for line in lines:
            print(line, flush=True)
    KEPT.write_text(json.dumps(points), "utf-8")
