"""The hooks by which PyInstaller freezes a program that uses this package, without options.

PyInstaller sees imports that are written as such. The hooks in this folder, which it finds by the
entry point `pyinstaller40`, name what is imported by name: `hook-humanloop` the client's modules,
`hook-humanloop.server` those of the embedded server, in programs that import it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from pathlib import Path

__all__ = ["files_below", "hook_dirs", "modules_below"]


SITE = Path(__file__).parents[2]


def hook_dirs() -> list[str]:
    """Return the folder of the hooks: the entry point."""
    return [str(Path(__file__).parent)]


def _folder(package: str) -> Path:
    return SITE.joinpath(*package.split("."))


def modules_below(package: str, *, without: Iterable[str] = ()) -> list[str]:
    """Return the names of all modules in a package; without: names of modules to leave out.

    None is imported, since extras may be missing.
    """
    found: list[str] = []
    for module in pkgutil.iter_modules([str(_folder(package))], f"{package}."):
        if module.name not in without:
            found.append(module.name)
            if module.ispkg:
                found += modules_below(module.name, without=without)
    return found


def files_below(package: str) -> list[tuple[str, str]]:
    """Return the files of a package as PyInstaller's `datas`: each with the folder that it goes to.

    For files that are read, or run, from the disk, modules among them.
    """
    return [
        (str(path), str(path.parent.relative_to(SITE)))
        for path in sorted(_folder(package).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
