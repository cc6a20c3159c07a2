"""How time and memory grow with the payload, the errors, the classes, and with new shapes.

Runs in the environment of ours. Each table should be flat: what is shown is per node, error, call.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

from bench.contestants import Ours
from bench.payloads import Maker

__all__ = ["main"]


def _steps(most: int) -> Iterator[int]:
    step = 10
    while step <= most:
        yield step
        step *= 10


def _cost(make: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and the bytes that are kept."""
    gc.collect()
    start = time.process_time()
    make()
    spent = time.process_time() - start
    gc.collect()
    tracemalloc.start()
    kept = make()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return spent, size


def _count(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, parts))


def _payload(most: int) -> Iterator[str]:
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
            many = [one] * max(1, asked // _count(one))
            page = {"records": many, "page": 0, "size": 0, "total": 0}
            text = json.dumps({**bare, "metadata": {"items": many}} if one is item else page)
            nodes = _count(one) * len(many)
            parse(text)
            parse(text)
            seconds, kept = _cost(lambda text=text, parse=parse: parse(text))  # type: ignore[misc]
            per = f"{seconds / nodes * 1e6:8.3f} µs   {kept / nodes:8.1f} bytes"
            yield f"{name:<10} {nodes:>10,} nodes   {per} a node"


def _errors(most: int) -> Iterator[str]:
    construct = Ours("").construct("PaginatedDataLogResponse")
    for count in _steps(most):
        records = [{"id": 5, "config": {"type": "generic", "id": "c"}} for _ in range(count // 2)]
        page = {"records": records, "page": 0, "size": 0, "total": 0}
        start = time.process_time()
        try:
            construct(page)
        except ValueError:
            spent = time.process_time() - start
            yield f"{'errors':<10} {count:>10,}         {spent / count * 1e6:8.3f} µs an error"


def _classes(most: int) -> Iterator[str]:
    from humanloop.schemas import schema_from_openapi

    part = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    classes: list[Callable[[Any], Any]] = []
    for count in _steps(most):
        while len(classes) < count:
            classes.append(schema_from_openapi(part, name=f"Class{len(classes)}"))
        values = [{"a": "text", "b": 1} for _ in range(20_000)]
        for cls in classes * 3:
            cls({"a": "text", "b": 1})
        start = time.process_time()
        for number, value in enumerate(values):
            classes[number % count](value)
        spent = (time.process_time() - start) / len(values)
        yield f"{'classes':<10} {count:>10,}         {spent * 1e6:8.3f} µs an instance"


def _stream(count: int) -> Iterator[str]:
    """Logs of shapes that never come again: what the process has come to hold."""
    maker, construct = Maker(9, 9), Ours("").construct("LogResponse")
    for part in range(1, 6):
        spent = 0.0
        for _ in range(max(1, count // 5)):
            log = json.loads(json.dumps(maker.new_log()))
            start = time.perf_counter()
            construct(log)
            spent += time.perf_counter() - start
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        per = f"{spent / (count // 5) * 1e6:8.1f} µs a log"
        yield f"{'new shapes':<10} {count * part // 5:>10,}         {per}, {held:.0f} MB held"


def main() -> None:
    """Print the tables, for as many nodes as the first argument says."""
    nodes, stream = int(sys.argv[1]), int(sys.argv[2])
    for lines in (_stream(stream), _classes(1000), _errors(nodes // 10), _payload(nodes)):
        for line in lines:
            print(line, flush=True)
