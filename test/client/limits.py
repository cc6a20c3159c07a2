"""Time limits that have to run out at a certain point of a call."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from humanloop import ApiConnectionError

_SECONDS = (0.1, 0.3, 1, 3, 10)


def run_out(
    expected: str,
    call: Callable[..., ApiConnectionError],
    limit: str,
    *arguments: Any,
    **options: Any,
) -> tuple[float, ApiConnectionError]:
    """Return the shortest limit that is long enough to get to the point, and its error.

    A busy machine may need a second for what usually takes a millisecond.

    expected: the reason, with {} for the limit, and * for any text; call: makes the call, and
    returns its error; limit: the name of the argument that is the limit, in seconds.
    """
    reason = None
    for seconds in _SECONDS:
        error = call(*arguments, **options, **{limit: seconds})
        reason = error.reason
        if fnmatchcase(reason, expected.format(seconds)):
            return seconds, error
    raise AssertionError(f"{reason!r} instead of {expected!r}")
