"""Recursion without Python's stack, so that a value may be nested as deeply as memory holds.

A function that would call itself is written as a generator instead: it yields the generator of the
call, and gets the result, or the exception, back. `run` holds the calls that are under way in a
list.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

__all__ = ["Steps", "run"]

T = TypeVar("T")

Steps = Generator[Any, Any, T]
"""A call under way: it yields the calls that it needs, and returns its result."""


def run(steps: Steps[T]) -> T:
    """What `steps` returns.

    Raises:
        Exception: whatever it raises.
    """
    calls: list[Steps[Any]] = [steps]
    resume: Callable[[Any], Any] = steps.send
    given: Any = None
    while True:
        try:
            call = resume(given)
        except StopIteration as end:
            calls.pop()
            if not calls:
                return end.value  # type: ignore[no-any-return]
            resume, given = calls[-1].send, end.value
        except Exception as error:
            calls.pop()
            if not calls:
                raise
            resume, given = calls[-1].throw, error
        else:
            calls.append(call)
            resume, given = call.send, None
