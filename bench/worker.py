"""A contestant at work: a process that answers questions, one JSON line each, on its pipes.

Payloads are drawn and copied, and garbage is collected, outside the measured time. The collector
stays on, as in any program. Computations are measured by the process's own clock, which other
processes disturb least; waiting is measured by the wall clock.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import lru_cache
from statistics import median
from typing import Any

from bench.contestants import CONTESTANTS, Function, Ours, is_compiled, versions
from bench.payloads import bad, draw

__all__ = ["main"]

Question = dict[str, Any]


VARIANTS = 4
"""The number of draws of the same shapes with other values: each repeats, as fresh objects,
after more different numbers than any contestant caches.
"""


@lru_cache(maxsize=32)
def _texts(kind: str, count: int, shapes: int, values: int) -> list[bytes]:
    return [json.dumps(payload).encode() for payload in draw(kind, count, shapes, values)]


def _drawn(question: Question) -> list[bytes]:
    values = question["values"] % VARIANTS
    return _texts(question["payloads"], question["count"], question["shapes"], values)


def _inputs(me: Any, question: Question) -> list[Any]:
    kind = question["kind"]
    if kind in ("call", "acall", "send"):
        return [None] * question["count"]
    texts = _drawn(question)
    if kind == "construct":
        return [json.loads(text) for text in texts]
    if kind == "encode":
        make = me.to_encode(question["schema"])
        return [make(text) for text in texts]
    return texts


class Worker:
    """The answers of one contestant."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.me: Any = CONTESTANTS[name][1](address)
        self.functions: dict[str, Function] = {}

    def hello(self, question: Question) -> Any:
        compiled = isinstance(self.me, Ours) and is_compiled()
        return {
            "python": sys.version.split()[0],
            "packages": versions(),
            "compiled": compiled,
        }

    def check(self, question: Question) -> Any:
        """Return which payloads of a kind are accepted, and which faulty copies of them."""
        construct = self.me.construct(question["schema"])
        payloads = draw(question["payloads"], question["count"])
        wrong = [one for payload in payloads[: question["bad"]] for one in bad(payload)]
        return [_accepts(construct, payload) for payload in [*payloads, *wrong]]

    def time(self, question: Question) -> Any:
        """Return the seconds per item: by the process's clock, or the median by the wall clock."""
        name = question["name"]
        if name not in self.functions:
            self.functions[name] = getattr(self.me, question["kind"])(question["schema"])
        function = self.functions[name]
        items = _inputs(self.me, question)
        gc.collect()
        if question["wall"]:
            return median(_wall_time(function, item) for item in items)
        kept: list[Any] = []
        keep = kept.append if question["keep"] else _drop
        start = time.process_time()
        for item in items:
            keep(function(item))
        return (time.process_time() - start) / len(items)

    def memory(self, question: Question) -> Any:
        """Return the bytes that an instance parsed from JSON keeps."""
        parse, texts = self.me.parse(question["schema"]), _drawn(question)
        for text in texts * (2 if len(texts) > 1 else 1):  # fills the caches first
            parse(text)
        gc.collect()
        tracemalloc.start()
        kept = [parse(text) for text in texts]
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size / len(kept)


def _drop(_: Any) -> None:
    """Drop a result."""


def _wall_time(function: Function, item: Any) -> float:
    start = time.perf_counter()
    function(item)
    return time.perf_counter() - start


def _accepts(construct: Function, payload: Any) -> bool:
    try:
        construct(payload)
    except Exception:
        return False
    return True


def main() -> None:
    """Answer until the pipe is closed."""
    worker = Worker(*sys.argv[1:3])
    for line in sys.stdin:
        question = json.loads(line)
        ask: Callable[[Question], Any] = getattr(worker, question["do"])
        print(json.dumps(ask(question)), flush=True)
