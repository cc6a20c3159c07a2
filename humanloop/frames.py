"""The frames of an error, emptied: error reporters send the local variables of each.

`shielded` stands around what the user calls, and around what a transport does. When that raises, it
empties the frames of this package, whose variables are the caller's arguments, with keys in them;
and it drops the frames below a transport, where other libraries hold what goes on the wire.

Invariants: an error keeps its type, message and chain. Frames of the user's own functions, such as
hooks, stay as they are, and so do errors that the user was handling when the call began.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

__all__ = ["empty_frames", "shielded"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_PACKAGE = __name__.partition(".")[0]
_TRANSPORT = f"{_PACKAGE}.transport"
_SHIELDS = (__name__, f"{_PACKAGE}.api")
"""The modules whose frames call what is shielded, which may be another package's."""
_COROUTINE = 0x80  # inspect.CO_COROUTINE; the import of `inspect` takes longer than all else here
_RESUMABLE = _COROUTINE | 0x20 | 0x200  # generators, and asynchronous ones


def shielded(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return a function, or a coroutine function, whose errors keep no variables of this package.

    Its own frame, which can't be emptied while it runs, forgets its arguments instead.
    """
    if cast(Any, function).__code__.co_flags & _COROUTINE:
        made: Any = _shielded_coroutine(function)
    else:
        made = _shielded_function(function)
    return cast("Callable[Arguments, Result]", functools.update_wrapper(made, function))


def _shielded_function(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            empty_frames(error)
            raise

    return call


def _shielded_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            empty_frames(error)
            raise

    return call


def empty_frames(error: BaseException) -> None:
    """Empty the frames of this package that an error has passed, and those of its chain.

    To be called where the error is handled.
    """
    running = _running_frames()
    seen: set[int] = set()
    waiting: list[tuple[BaseException | None, bool]] = [(error, False)]
    while waiting:
        inner, below_transport = waiting.pop()
        if inner is None or id(inner) in seen:
            continue
        seen.add(id(inner))
        frames = inner.__traceback__
        if inner is not error and frames is not None:
            if frames.tb_frame in running and not _is_in(frames.tb_frame, _PACKAGE):
                continue  # the user was handling this one when the call began
            below_transport = below_transport or _is_in(frames.tb_frame, _TRANSPORT)
        if below_transport:
            inner.__traceback__ = None
        else:
            below_transport = _empty(frames)
        waiting += [(inner.__cause__, below_transport), (inner.__context__, below_transport)]


def _running_frames() -> set[FrameType]:
    frames: set[FrameType] = set()
    # From the caller's caller on: a frame that holds a set that holds it would not go by itself.
    frame: FrameType | None = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]  # documented
    while frame is not None:
        frames.add(frame)
        frame = frame.f_back
    return frames


def _empty(entry: TracebackType | None) -> bool:
    """Empty the frames of a traceback that are ours; return True if it leads into a transport."""
    ours = below_shield = False
    while entry is not None:
        frame = entry.tb_frame
        name = str(frame.f_globals.get("__name__", ""))
        # What the standard library does for a frame of ours has the same values in hand.
        of_stdlib = ours and name.partition(".")[0] in sys.stdlib_module_names
        ours = below_shield or of_stdlib or _is_in(frame, _PACKAGE)
        below_shield = name in _SHIELDS
        # A frame that may go on must not be emptied: before Python 3.13, that would end it. So
        # those of ours hold no key in clear.
        if ours and not frame.f_code.co_flags & _RESUMABLE:
            with contextlib.suppress(RuntimeError):  # it is running
                frame.clear()
        if _is_in(frame, _TRANSPORT):
            entry.tb_next = None
            return True
        entry = entry.tb_next
    return False


def _is_in(frame: FrameType, package: str) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name == package or name.startswith(f"{package}.")
