"""The places of values in a request that the database can't keep, searched only after a hint.

A request is plain data here, such as {"query": {...}, "body": [...]}, so the path to a part of it
is its location.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from humanloop.server.errors import MAX_PROBLEMS, Invalid, Location, Problem, invalid
from humanloop.server.store.key_text import KeyTooLong


def check_nul(request: Mapping[str, Any]) -> None:
    """Raise Invalid for texts and keys with U+0000, which PostgreSQL can't keep."""
    message = "text with the character U+0000 can't be stored"
    problems = _problems(request, lambda text: "\0" in text, message, "pattern")
    if problems:
        raise Invalid(problems)


def long_key(request: Mapping[str, Any], error: KeyTooLong) -> Invalid:
    """Return the error for each place of a key that is too long."""
    problems = _problems(request, lambda text: text == error.text, str(error), "maxLength")
    return Invalid(problems) if problems else invalid(("body",), str(error), "maxLength")


def _problems(
    request: Mapping[str, Any], is_meant: Callable[[str], bool], message: str, keyword: str
) -> list[Problem]:
    found = (path for path, text in _texts(request, ()) if is_meant(text))
    return [Problem(path, message, keyword) for path in islice(found, MAX_PROBLEMS)]


def _texts(value: Any, path: Location) -> Iterator[tuple[Location, str]]:
    """Yield the texts in plain data with their paths; a key's path is that of its value."""
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[str, Any]", value).items():
            yield (*path, key), key
            yield from _texts(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            yield from _texts(item, (*path, index))
    elif isinstance(value, str):
        yield path, value
