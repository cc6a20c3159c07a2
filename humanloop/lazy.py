"""Names that modules have not yet, or no more, when they are asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["lazy_names", "removed_names"]


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
