"""Time limits that have to run out at a certain point of a call."""

from __future__ import annotations

from collections.abc import Callable

from humanloop import ApiConnectionError

_SECONDS = (0.1, 0.3, 1, 3, 10)


def run_out(
    attempt: Callable[[float], ApiConnectionError], expected: str
) -> tuple[float, ApiConnectionError]:
    """Return the shortest limit that is long enough to get to the point, and its error.

    A busy machine may need a second for what usually takes a millisecond.

    attempt: makes the call with a limit, in seconds.
    expected: how the reason begins, with {} for the limit.
    """
    reason = None
    for seconds in _SECONDS:
        error = attempt(seconds)
        reason = error.reason
        if reason.startswith(expected.format(seconds)):
            return seconds, error
    raise AssertionError(f"{reason!r} instead of {expected!r}")
