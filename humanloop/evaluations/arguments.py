"""Check the arguments of the helpers, which no schema of the API does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real

from humanloop.exceptions import ApiTypeError, ApiValueError

INTEGER, NUMBER = (Integral, "an integer"), (Real, "a number")
TEXT, MAPPING = (str, "text"), (Mapping, "a mapping")
"""Kinds of arguments: the type, and how a message calls it."""


def check(method: str, name: str, value: object, kind: tuple[type, str]) -> None:
    """Raise ApiTypeError for an argument of another kind; a boolean is no number."""
    wanted, described = kind
    if isinstance(value, bool) or not isinstance(value, wanted):
        found = type(value).__name__
        raise ApiTypeError(f"evaluations.{method}(): {name} must be {described}, not {found}")


def check_list(method: str, name: str, value: object, described: str) -> None:
    """Raise ApiTypeError for what is no list or the like; a text is none."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        found = type(value).__name__
        message = f"{name} must be a list of {described}, not {found}"
        raise ApiTypeError(f"evaluations.{method}(): {message}")


def check_name(name: object) -> None:
    """Raise ApiTypeError or ApiValueError for what can't be the name of an evaluator's scores."""
    if not isinstance(name, str):
        raise ApiTypeError(f"the name of an evaluator must be text, not {type(name).__name__}")
    if not name.strip() or name.splitlines() != [name]:
        raise ApiValueError(f"an evaluator can't be called {name!r}: give it a name on one line")
