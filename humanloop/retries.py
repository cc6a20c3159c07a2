"""Decide whether a request is sent again, and after how long.

`RetryPolicy` holds the settings; `after_response` and `after_fault` turn them, and what happened,
into a `Decision`.

Invariants: nothing here sends, sleeps or reads a clock; the time is an argument, and chance is a
field of the policy. A request that is not safe to repeat is only repeated when it was not sent, or
when the server says that it did not take it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timezone
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast, get_args

from humanloop.exceptions import ClientConfigurationError
from humanloop.secrets import brief

__all__ = [
    "FAULTS",
    "STATUSES",
    "Decision",
    "Fault",
    "RetryPolicy",
    "after_fault",
    "after_response",
    "parse_retry_after",
]

Fault = Literal["connect", "timeout", "broken"]
"""The reason for no answer: no connection was made, time ran out, or it was cut."""

_FAULTS: tuple[Fault, ...] = get_args(Fault)
FAULTS = frozenset(_FAULTS)
STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def _chance() -> float:
    # Not `random.random` itself: it pickles with its state, and so would give every process that
    # gets the policy the same waits. And a client that never retries does not load the module.
    from random import random

    return random()


@dataclass(frozen=True)
class RetryPolicy:
    """The rules for retries: for which failures, how many, and after which waits.

    attempts: how many times a request is sent at most, the first included.
    backoff, backoff_cap: seconds; the n-th wait is a random part of `backoff * 2 ** (n - 1)`, or
        of `backoff_cap` where that is less.
    max_retry_after: seconds; when the server asks to wait longer, the request is not tried again.
    statuses: of the answers, from 400 to 599, after which a request may be tried again.
    faults: the same for requests that no answer came to.
    random: gives a number from 0 to 1, for the backoff.

    Raises ClientConfigurationError for values that are none of this.
    """

    attempts: int = 3
    backoff: float = 0.5
    backoff_cap: float = 8.0
    max_retry_after: float = 60.0
    statuses: AbstractSet[int] = STATUSES
    faults: AbstractSet[Fault] = FAULTS
    random: Callable[[], float] = field(default=_chance, repr=False, compare=False)

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise _invalid("attempts", "a whole number from 1 up", self.attempts)
        for name in ("backoff", "backoff_cap", "max_retry_after"):
            _check_seconds(name, getattr(self, name))
        wanted = "a set of HTTP statuses from 400 to 599"
        statuses = _members("statuses", self.statuses, _is_status, wanted)
        wanted = f"a set out of {', '.join(map(repr, _FAULTS))}"
        faults = _members("faults", self.faults, _is_fault, wanted)
        object.__setattr__(self, "statuses", frozenset(map(int, statuses)))
        object.__setattr__(self, "faults", faults)
        if not callable(self.random):
            raise _invalid("random", "a function without arguments", self.random)

    @staticmethod
    def of(value: RetryPolicy | int | None) -> RetryPolicy:
        """Return the policy that an option stands for.

        value: a policy; or how many retries may follow the first try; or None for the default.
        Raises ClientConfigurationError for anything else.
        """
        if isinstance(value, RetryPolicy):
            return value
        if value is None:
            return RetryPolicy()
        if type(value) is not int or value < 0:
            raise _invalid("retries", "a number of retries from 0 up, a RetryPolicy or None", value)
        return _of_retries(value)

    def delay(self, attempt: int) -> float:
        """Return seconds to wait after `attempt` tries: exponential backoff with full jitter."""
        # 2.0 ** 1024 is an error. One that is larger than any float by multiplying is not.
        longest = min(self.backoff_cap, self.backoff * 2.0 ** min(attempt - 1, 1023))
        return self.random() * longest


@lru_cache(maxsize=64)  # a policy is the same for all calls, and of a few numbers
def _of_retries(retries: int) -> RetryPolicy:
    return RetryPolicy(attempts=retries + 1)


class Decision(NamedTuple):
    """The decision after a try.

    wait: seconds until the next try; None: there is none. reason: for the user; empty unless the
    request would have been tried again, had the server not asked for too long a wait.
    """

    wait: float | None
    reason: str = ""


_GIVE_UP = Decision(None)


def after_response(
    policy: RetryPolicy,
    status: int,
    headers: Mapping[str, str],
    *,
    attempt: int,
    repeatable: bool,
    now: float,
) -> Decision:
    """Decide what to do after an answer with this status and these headers.

    attempt: tries made so far, this one included; repeatable: doing it twice changes nothing more
    than doing it once; now: see `parse_retry_after`.
    """
    if attempt >= policy.attempts or status not in policy.statuses:
        return _GIVE_UP
    asked = parse_retry_after(headers, now)
    if not _may_repeat(status, repeatable=repeatable, asked=asked is not None):
        return _GIVE_UP
    if asked is None:
        return Decision(policy.delay(attempt))
    if asked > policy.max_retry_after:
        return Decision(
            None,
            f"the server asks to wait {asked:.12g} s, more than the"
            f" {policy.max_retry_after:.12g} s that max_retry_after allows",
        )
    return Decision(asked)


def after_fault(
    policy: RetryPolicy, fault: Fault, *, attempt: int, repeatable: bool, sent: bool
) -> Decision:
    """Decide what to do when no answer came.

    sent: whether any of the request may have gone out; for the rest see `after_response`.
    """
    if attempt >= policy.attempts or fault not in policy.faults or (sent and not repeatable):
        return _GIVE_UP
    return Decision(policy.delay(attempt))


def _may_repeat(status: int, *, repeatable: bool, asked: bool) -> bool:
    if status == 409:  # the same request meets the same conflict, unless the server says when not
        return asked
    # The server did not let the request in (401), did not wait for it (408), did not want it (429),
    # or not now (503).
    return repeatable or status in (401, 408, 429) or (status == 503 and asked)


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that the server asks to wait; None: it asks for none in a known form.

    headers: `Retry-After-Ms` in milliseconds goes before `Retry-After`, which is in seconds or an
    HTTP-date (RFC 9110, sections 10.2.3 and 5.6.7); a date in the past is 0.0. now: seconds since
    1970 began in UTC; where the answer has a `Date`, a date is relative to that, since the two
    come from the same clock.
    """
    milliseconds = _number(headers.get("Retry-After-Ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("Retry-After", "")
    seconds = _number(text)
    if seconds is not None:
        return seconds
    until = _http_date(text)
    if until is None:
        return None
    server_time = _http_date(headers.get("Date", ""))
    return max(0.0, until - (now if server_time is None else server_time))


def _number(text: str) -> float | None:
    digits = text.strip(" \t")
    # What is too large for a float is still a wait that nobody has time for.
    return min(float(digits), sys.float_info.max) if _NUMBER.fullmatch(digits) else None


def _http_date(text: str) -> float | None:
    """Return the seconds from 1970 to a date in one of the three forms of HTTP, else None."""
    from email.utils import parsedate_to_datetime  # its import takes longer than all else here

    try:
        date = parsedate_to_datetime(text)
    # It fails in other ways, too, for text that is far from a date.
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    # The form of asctime names no zone: HTTP-dates are in UTC.
    return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()


def _check_seconds(name: str, value: object) -> None:
    # The last comparison is False for NaN and infinity, and for an int that no float can hold.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= cast("float", value) <= sys.float_info.max:
        raise _invalid(name, "a number of seconds from 0 up", value)


def _members(
    name: str, given: object, fits: Callable[[object], bool], wanted: str
) -> frozenset[Any]:
    # A str is iterable, too. Its characters are not what is to be complained about.
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise _invalid(name, wanted, given)
    members = list(cast("Iterable[object]", given))
    for member in members:
        if not fits(member):
            raise _invalid(name, wanted, member)
    return frozenset(members)


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 400 <= value <= 599


def _is_fault(value: object) -> bool:
    return isinstance(value, str) and value in FAULTS


def _invalid(name: str, wanted: str, given: object) -> ClientConfigurationError:
    return ClientConfigurationError(f"{name} must be {wanted}, not {brief(given)}")
