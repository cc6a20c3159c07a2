"""The constructors of schema classes: from the arguments of a call to the value to validate.

A user's subclass may define `__new__` or `__init__`, itself or in a mixin. A call then runs them as
Python does, and `super()` in them finds the base `Validating`, which comes before the schema class.
All other classes have no constructor, so that a call of them is one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from humanloop.exceptions import ApiTypeError
from humanloop.schemas.casting import is_mapping
from humanloop.schemas.instances import BASES
from humanloop.schemas.values import unset

__all__ = ["CONSTRUCTORS", "Validating", "collected", "has_constructor", "with_keys"]

CONSTRUCTORS = ("__new__", "__init__")


def has_constructor(mixins: Iterable[type], namespace: Mapping[str, Any]) -> bool:
    """Return whether a new class has a user's constructor: its own, or a mixin's.

    mixins: its bases that are not schema classes.
    """
    if "any" not in BASES:  # the classes of `schema` are still being made
        return False
    own = {*BASES.values()}
    mixins = [mixin for mixin in mixins if mixin not in own]
    return any(
        name in namespace or any(getattr(c, name) is not getattr(object, name) for c in mixins)
        for name in CONSTRUCTORS
    )


class Validating:
    """The base, before the schema class, that `super()` of such a constructor finds."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __new__(cls, /, *arguments, **keys):
            return cls.validate(_content(cls, arguments, keys))

        def __init__(self, /, *arguments, **keys):
            """Refuse content from which the instance was not made: it would be lost."""
            cls = type(self)
            if cls.__init__ is Validating.__init__ or cls.__new__ is not Validating.__new__:
                return  # the arguments are unchanged, or `__new__` used them
            if not (arguments or keys) or any(map(_is_iterator, arguments)):
                return
            if cls.validate(_content(cls, arguments, keys)) != self:
                raise ApiTypeError(f"{cls.__name__}: {_USE_NEW}")


_USE_NEW = (
    "__init__ can't change the content of the instance, which is made from the call's arguments; "
    "define __new__, and let it return super().__new__(cls, mapping)"
)


def _content(cls: Any, arguments: tuple[Any, ...], keys: dict[str, Any]) -> Any:
    """Return the value in the arguments of a call."""
    if len(arguments) > 1:
        raise ApiTypeError(
            f"{cls.__name__} takes one value, or keywords; for other arguments define __new__, "
            "and let it return super().__new__(cls, mapping)"
        )
    value = arguments[0] if arguments else unset
    return with_keys(cls, value, keys) if keys or value is unset else value


def with_keys(cls: type, value: Any, keys: dict[str, Any]) -> Any:
    """Return a class's argument for a call with keywords, with or without a mapping."""
    for item in keys.values():
        if item is unset:
            keys = {key: item for key, item in keys.items() if item is not unset}
            break
    if value is unset:
        return keys
    if not is_mapping(value):
        came = type(value).__name__
        raise ApiTypeError(f"{cls.__name__} takes keywords alone or with a mapping, got {came}")
    return {**value, **keys}


def _is_iterator(value: Any) -> bool:
    return isinstance(value, Iterator)


def collected(cls: type, values: Any) -> Any:
    """Return an iterator's items as an object or an array; any other value unchanged.

    `dataclasses.asdict` calls the classes of containers with iterators, as `dict` accepts them.
    """
    if not _is_iterator(values):
        return values
    if issubclass(cls, BASES["array"]):
        return tuple(values)
    try:
        return dict(values) if issubclass(cls, BASES["object"]) else values
    except (TypeError, ValueError):  # not pairs
        return values
