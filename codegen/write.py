"""The update of the working tree to the generated files, or its comparison with them.

Invariants: only the given files and the generated folders are touched; a file there that is not
marked as generated is reported, never removed.
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
    """A file that differs from the generated one; `wanted` is that text, None to delete it."""

    path: str
    kind: Literal["changed", "missing", "stale", "unknown"]
    found: str | None
    wanted: str | None

    def summary(self) -> str:
        """Return the start of a unified diff for a changed file, an empty text for others."""
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

    folders: all other files in them are stale, or unknown.
    """
    found = (*_unlike(root, files), *_surplus(root, files, folders))
    return sorted(found, key=lambda difference: difference.path)


def write(root: Path, found: list[Difference]) -> None:
    """Resolve the differences in `found`, except unknown files."""
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
