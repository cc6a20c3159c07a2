"""Attributes that are made when they are asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from humanloop.lazy import cached_property


def test_threads_that_ask_at_once_get_the_value_of_the_first() -> None:
    both = Barrier(2, timeout=10)

    class Maker:
        @cached_property
        def made(self) -> object:
            both.wait()
            return object()

    maker = Maker()
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: maker.made, range(2))
    assert first is second is maker.made
