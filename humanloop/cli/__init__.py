"""The command `humanloop`: each of its commands is a module that `commands.COMMANDS` lists.

What goes wrong is said in one line on the standard error stream, with exit code 1; wrong arguments
end with 2, as argparse has it. Ctrl+C and SIGTERM end every command without a traceback, at any
moment, with 128 and the signal's number. So this module imports hardly anything: what comes before
its handlers are set, nothing can catch.
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

    arguments: without them, those of the process, which this then is the whole of: it takes its
    signals and how it reports what nobody can catch.
    """
    if arguments is None:
        _watch_signals()
        gc.set_threshold(50_000)  # looking through what imports make is a sixth of a server's start
    try:
        from humanloop.cli import commands

        return commands.run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt as interrupt:
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    finally:
        if arguments is None:
            _leave_signals()
            gc.freeze()  # the end of a process looks through all for cycles, a fifth of its time


def _watch_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        # Shells start what runs in the background with interrupts ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _report_unraisable


def _leave_signals() -> None:
    """Let a signal end the process at once, since nothing is left to clean up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _leave_signals()  # whoever asks twice does not want to wait
    raise KeyboardInterrupt(number)


def _report_unraisable(report: sys.UnraisableHookArgs) -> None:
    """Report an error that nobody can catch; an interrupt among them would be lost."""
    if isinstance(report.exc_value, KeyboardInterrupt):
        os._exit(128 + signal.SIGINT)
    sys.__unraisablehook__(report)
