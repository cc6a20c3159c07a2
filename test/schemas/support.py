"""Common parts of the runtime's tests: making classes, verdicts and errors, and a deadline.

A class is called several times with equal values: its caches from the first values must not change
any result.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from frozendict import frozendict

from humanloop.schemas import Schema, SchemaValidationError, schema_from_openapi

__all__ = ["accepts", "anatomy", "deadline", "errors_of", "make", "message_of", "nested", "outcome"]

ROUNDS = 4


def make(schema: Mapping[str, Any], name: str = "Thing", **components: Any) -> Any:
    """The class of `schema`, untyped, so that tests may use it wrongly."""
    cls: Any = schema_from_openapi(schema, components=components, name=name)
    return cls


def accepts(cls: type[Schema] | Mapping[str, Any], value: Any) -> bool:
    """Return whether `value` is valid, which must be the same on each call."""
    target: Any = make(cls) if isinstance(cls, Mapping) else cls
    verdicts = set()
    for _ in range(ROUNDS):
        try:
            target(value)
            verdicts.add(True)
        except SchemaValidationError as error:
            verdicts.add(not error.errors)  # a refusal has a reason
    assert len(verdicts) == 1, "the verdict changes with repetition"
    return verdicts.pop()


def errors_of(cls: type[Schema] | Mapping[str, Any], value: Any) -> list[tuple[str, str]]:
    """Place and keyword of every error of `value`; the empty list if it is valid."""
    return [(error.pointer, error.keyword) for error in _details(cls, value)]


def message_of(cls: type[Schema] | Mapping[str, Any], value: Any) -> str:
    """The message of the one error that `value` has."""
    (error,) = _details(cls, value)
    return str(error.message)


def _details(cls: type[Schema] | Mapping[str, Any], value: Any) -> tuple[Any, ...]:
    target: Any = make(cls) if isinstance(cls, Mapping) else cls
    try:
        target(value)
    except SchemaValidationError as error:
        return error.errors
    return ()


def nested(depth: int, *, objects: bool = False) -> Any:
    """Empty lists, or objects under the key `a`, `depth` levels deep."""
    value: Any = {} if objects else []
    for _ in range(depth - 1):
        value = {"a": value} if objects else [value]
    return value


def anatomy(value: Any) -> Any:
    """A value with the classes of all its parts, and its keys in order."""
    if isinstance(value, frozendict):
        return type(value), [(key, anatomy(part)) for key, part in value.items()]
    if isinstance(value, tuple):
        return type(value), [anatomy(part) for part in value]
    return type(value), str(value)


def outcome(validate: Any, value: Any) -> Any:
    """The result for a value: the anatomy of the instance, or the errors."""
    try:
        return anatomy(validate(value))
    except SchemaValidationError as error:
        return error.errors


class _Late(BaseException):
    """The deadline is over; no `except Exception` on the way can take it."""


@contextmanager
def deadline(seconds: float = 2.0) -> Iterator[None]:
    """Fail the test when the block takes more of the processor's time, not of the clock's."""

    def stop(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 0.25)
    try:
        yield
    except _Late:
        raise AssertionError(f"not done after {seconds} seconds") from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
