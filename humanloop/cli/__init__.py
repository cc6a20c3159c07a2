"""The command `humanloop`; each of its commands is a module in `commands.COMMANDS`.

Errors are reported in one line on the standard error stream, with exit code 1; wrong arguments end
with 2, as usual with argparse. Ctrl+C and SIGTERM end every command without a traceback, at any
moment, with 128 plus the signal's number. This module therefore imports hardly anything: before its
handlers are set, nothing can catch a signal.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code.

    arguments: None means those of the process. The command then owns the process: it handles its
        signals, and reports the errors that nobody can catch.
    """
    if arguments is None:
        _watch_signals()
        gc.set_threshold(50_000)  # scanning what imports make is a sixth of a server's start
    try:
        from humanloop.cli import commands

        return commands.run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt as interrupt:
        # One that left an `exec` of text (a namedtuple is made by one) would let `python -m` end by
        # SIGINT, whatever the exit code; CPython forgets it when the next text is run.
        exec("")
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    finally:
        if arguments is None:
            _leave_signals()
            gc.freeze()  # Python's last search for cycles would be a fifth of a command's time


def _watch_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        # Shells start background jobs with interrupts ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _report_unraisable


def _leave_signals() -> None:
    """Let a signal end the process at once, since nothing is left to clean up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _leave_signals()  # a second interrupt must not wait
    raise KeyboardInterrupt(number)


def _report_unraisable(report: sys.UnraisableHookArgs) -> None:
    """Report an error that nobody can catch; otherwise, an interrupt among them would be lost."""
    if isinstance(report.exc_value, KeyboardInterrupt):
        os._exit(128 + signal.SIGINT)
    sys.__unraisablehook__(report)
