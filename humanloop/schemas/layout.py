"""frozendict as a base class whose instances C makes.

Where frozendict is written in Python, a subclass of dict, its constructor takes seven times as
long as dict's. A class whose `__new__` is dict's own gets that of C only if none of its bases has
another when it is made. So a class is first derived from `Frozen`, which is laid out as frozendict
is, and then gets frozendict for this base: it differs from other subclasses in nothing else. Its
`__init__` is object's, which changes nothing: `dict.update` fills the instances, made empty.
"""

from __future__ import annotations

from typing import Any

from frozendict import frozendict

__all__ = ["MADE_EMPTY", "Frozen", "derive", "fill"]

Frozen: Any = frozendict
_DICT: Any = dict

if issubclass(frozendict, dict):
    _slots = frozendict.__dict__.get("__slots__", ())
    _alike = type("Frozen", (dict,), {"__slots__": _slots, "__init__": object.__init__})
    try:
        type("Probe", (_alike,), {"__slots__": ()}).__bases__ = (frozendict,)
    except TypeError:  # laid out in another way: then frozendict's own constructor does it
        pass
    else:
        Frozen = _alike

MADE_EMPTY = Frozen is not frozendict
"""Whether a class derived like this makes an empty object of nothing, or a full one of a dict."""

fill: Any = _DICT.update
"""Fills an empty object."""


def derive(cls: type) -> None:
    """Give a class that was derived from `Frozen` frozendict itself for its base."""
    cls.__bases__ = tuple(frozendict if base is Frozen else base for base in cls.__bases__)
