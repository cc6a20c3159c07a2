"""Brings the working tree in line with the generated files, or says how it differs.

Invariants: nothing but the files that are wanted and the generated folders is touched, and a
file there that does not say that it was generated is reported, never removed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codegen.render import FOLDERS, is_generated

__all__ = ["Difference", "differences", "write"]

DIFF_LINES = 12


@dataclass(frozen=True)
class Difference:
    """A file that is not as generated; `wanted` is its text, None if it should not be there."""

    path: str
    kind: Literal["changed", "missing", "stale", "unknown"]
    found: str | None
    wanted: str | None

    def summary(self) -> str:
        """Return the start of a unified diff for a changed file, nothing for the others."""
        if self.kind != "changed" or self.found is None or self.wanted is None:
            return ""
        lines = list(
            difflib.unified_diff(
                self.found.splitlines(),
                self.wanted.splitlines(),
                f"{self.path} (in the tree)",
                f"{self.path} (generated)",
                lineterm="",
                n=1,
            )
        )
        more = len(lines) - DIFF_LINES
        return "\n".join([*lines[:DIFF_LINES], *([f"... {more} more lines"] if more > 0 else [])])


def differences(
    root: Path, files: Mapping[str, str], folders: Sequence[str] = FOLDERS
) -> list[Difference]:
    """Compare the tree at `root` with `files`; return the differences by path.

    folders: what else is in them is stale, or unknown.
    """
    found = (*_unlike(root, files), *_surplus(root, files, folders))
    return sorted(found, key=lambda difference: difference.path)


def write(root: Path, found: list[Difference]) -> None:
    """Undo `found`, but for unknown files."""
    for difference in found:
        path = root / difference.path
        if difference.wanted is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(difference.wanted, encoding="utf-8", newline="\n")
        elif difference.kind == "stale":
            path.unlink()


def _unlike(root: Path, files: Mapping[str, str]) -> Iterator[Difference]:
    for path, wanted in files.items():
        if not (root / path).exists():
            yield Difference(path, "missing", None, wanted)
        elif (found := (root / path).read_bytes().decode("utf-8", "replace")) != wanted:
            yield Difference(path, "changed", found, wanted)


def _surplus(root: Path, files: Mapping[str, str], folders: Sequence[str]) -> Iterator[Difference]:
    for folder in folders:
        for file in (root / folder).rglob("*"):
            path = file.relative_to(root).as_posix()
            if file.is_dir() or "__pycache__" in file.parts or path in files:
                continue
            text = file.read_bytes().decode("utf-8", "replace")
            yield Difference(path, "stale" if is_generated(text) else "unknown", text, None)
