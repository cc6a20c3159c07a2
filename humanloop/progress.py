"""Progress bars on stderr, by tqdm or rich, neither of which is a dependency."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

__all__ = ["Bar", "OpenBar", "bar_opener"]

OpenBar: TypeAlias = (
    "Callable[[int, str, str], tuple[Callable[[int], object], Callable[[], object]]]"
)
"""Open a bar: the total, a description, and the unit; return how to advance and to close it."""


class Bar:
    """A bar that is shown where stderr is a terminal and a package for it is installed.

    wanted: False shows nothing anywhere.
    """

    def __init__(self, description: str, unit: str, wanted: bool) -> None:
        self._texts = (description, unit)
        self._open: OpenBar | None = None
        if wanted and sys.stderr is not None and sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                self._open = bar_opener()
        self._advance: Callable[[int], object] = lambda count: None
        self._close: Callable[[], object] = lambda: None
        self._shown = 0

    def show(self, done: int, total: int) -> None:
        """Show how much is done; the first call opens the bar."""
        if self._open is not None:
            self._advance, self._close = self._open(total, *self._texts)
            self._open = None
        if done > self._shown:
            self._advance(done - self._shown)
            self._shown = done

    def close(self) -> None:
        """Leave the bar as it is; may be called again."""
        close, self._close = self._close, lambda: None
        close()


def bar_opener() -> OpenBar:
    """Return what opens a progress bar; raise ImportError where neither package is there."""
    # Neither package is a dependency, nor known to the type checkers.
    with contextlib.suppress(ImportError):
        tqdm: Any = import_module("tqdm.auto").tqdm

        def open_tqdm(total: int, description: str, unit: str) -> Any:
            bar = tqdm(total=total, desc=description or None, unit=f" {unit}")
            return bar.update, bar.close

        return open_tqdm
    with contextlib.suppress(ImportError):
        rich: Any = import_module("rich.progress")
        console: Any = import_module("rich.console")
        escape: Any = import_module("rich.markup").escape

        def open_rich(total: int, description: str, unit: str) -> Any:
            # What the caller prints to stdout, perhaps into a file, must stay there.
            bar = rich.Progress(
                console=console.Console(stderr=True), redirect_stdout=False, redirect_stderr=False
            )
            task = bar.add_task(escape(description), total=total)
            bar.start()
            return partial(bar.advance, task), bar.stop

        return open_rich
    raise ImportError("progress needs tqdm or rich: pip install tqdm")
