"""frozendict as a base class whose instances C makes.

Where frozendict is written in Python, a subclass of dict, its constructor takes seven times as long
as dict's. A class whose `__new__` and `__init__` are dict's own is given those of C only if none of
its bases has others when it is made. So a class is first derived from `Frozen`, which is laid out
as frozendict is, and then gets frozendict for this base: it differs from other subclasses in
nothing else.
"""

from __future__ import annotations

from typing import Any

from frozendict import frozendict

__all__ = ["Frozen", "derive"]

Frozen: Any = frozendict

if issubclass(frozendict, dict):

    class _Layout(dict[str, Any]):
        __slots__ = frozendict.__dict__.get("__slots__", ())

    class _Probe(_Layout):
        __slots__ = ()

    try:
        _Probe.__bases__ = (frozendict,)
    except TypeError:  # laid out in another way: then frozendict's own constructor does it
        pass
    else:
        Frozen = _Layout


def derive(cls: type) -> None:
    """Give a class that was derived from `Frozen` frozendict itself for its base."""
    cls.__bases__ = tuple(frozendict if base is Frozen else base for base in cls.__bases__)
