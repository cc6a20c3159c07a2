"""Attributes, and names of modules (PEP 562), that are made when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["cached_property", "lazy_names", "removed_names"]

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property:
        """A `functools.cached_property` for threads that begin at once, and for forks.

        All threads get the value of the first one. There is no lock, which that of `functools` has
        before Python 3.12: held while another thread forks, it would stay held in the child.
        """

        def __init__(self, function: Any) -> None:
            self.func = function
            self.__doc__ = function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            return instance.__dict__.setdefault(self.name, self.func(instance))


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package; homes: the module of each name, below it.

    A name stays in the package once it is imported, so it is asked for once.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found: object = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names


def removed_names(module: str) -> Callable[[str], object]:
    """Return `__getattr__` for a module: ImportError for a name that version 0.5 had in it."""

    def get(name: str) -> object:
        if not name.startswith("_"):  # each import asks for `__path__`
            from humanloop.removed import refuse

            refuse(f"{module}.{name}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return get
