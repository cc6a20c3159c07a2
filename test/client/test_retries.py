"""The retry policy: what may be tried again, after how long, and what servers may ask for."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from humanloop.exceptions import ClientConfigurationError
from humanloop.http import Headers
from humanloop.retries import (
    FAULTS,
    STATUSES,
    Decision,
    Fault,
    RetryPolicy,
    after_fault,
    after_response,
    parse_retry_after,
)

NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=timezone.utc).timestamp()
GIVE_UP = Decision(None)
BACKOFF = Decision(0.5)
"""The wait after the first try, as `policy` has it."""


def policy(**changes: Any) -> RetryPolicy:
    """A policy without chance: every wait is as long as it can be."""
    return RetryPolicy(**{"random": lambda: 1.0, **changes})


def response(
    status: int,
    retry_after: str | None = None,
    *,
    using: RetryPolicy | None = None,
    attempt: int = 1,
    repeatable: bool = True,
) -> Decision:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return after_response(
        using or policy(), status, headers, attempt=attempt, repeatable=repeatable, now=NOW
    )


SECONDS = "a number of seconds from 0 up"
STATUS_SET = "a set of HTTP statuses from 400 to 599"
FAULT_SET = "a set out of 'connect', 'timeout', 'broken'"


@pytest.mark.parametrize(
    ("name", "wanted", "values"),
    [
        ("attempts", "a whole number from 1 up", [0, -1, True, 2.0, None]),
        ("backoff", SECONDS, [-0.1, math.nan, 10**400]),
        ("backoff_cap", SECONDS, [math.inf, "8", 1j]),
        ("max_retry_after", SECONDS, [True, None]),
        ("statuses", STATUS_SET, [500, "500", [399], [600], [True], [[]], [500.0], [500, "503"]]),
        ("faults", FAULT_SET, ["connect", ["slow"], [["x"]], None]),
        ("random", "a function without arguments", [0.5]),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused(name: str, wanted: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ClientConfigurationError) as caught:
            RetryPolicy(**{name: value})
        shown = value[-1] if isinstance(value, list) else value
        assert str(caught.value) == f"{name} must be {wanted}, not {shown!r}"


def test_any_iterable_is_a_set() -> None:
    given_: Any = [429, HTTPStatus.BAD_GATEWAY, 429]
    statuses = RetryPolicy(statuses=given_).statuses
    assert statuses == frozenset({429, 502})
    assert {type(statuses), *map(type, statuses)} == {frozenset, int}
    given_ = (status for status in range(500, 505))
    assert RetryPolicy(statuses=given_).statuses == set(range(500, 505))
    given_ = ["timeout"]
    assert RetryPolicy(faults=given_).faults == frozenset({"timeout"})
    given_ = ()
    assert RetryPolicy(statuses=given_, faults=given_).statuses == frozenset()


def test_the_least_and_the_most() -> None:
    least = RetryPolicy(1, 0, 0, 0, frozenset({400, 599}), frozenset())
    assert least.delay(1) == 0
    most = policy(backoff=sys.float_info.max, backoff_cap=int(sys.float_info.max))
    assert most.delay(10**6) == sys.float_info.max


def test_a_policy_from_an_option() -> None:
    mine = RetryPolicy(attempts=9)
    assert RetryPolicy.of(mine) is mine
    assert RetryPolicy.of(None) == RetryPolicy() == RetryPolicy.of(2)
    assert [RetryPolicy.of(retries).attempts for retries in (0, 1, 5)] == [1, 2, 6]
    assert RetryPolicy.of(5) == dataclasses.replace(RetryPolicy(), attempts=6)


@pytest.mark.parametrize("value", [True, False, -1, 2.0, "2", "", [], {}, math.nan])
def test_a_number_of_retries_of_the_wrong_kind_is_refused(value: Any) -> None:
    with pytest.raises(ClientConfigurationError) as caught:
        RetryPolicy.of(value)
    wanted = "retries must be a number of retries from 0 up, a RetryPolicy or None, not"
    assert str(caught.value) == f"{wanted} {value!r}"


def test_a_policy_is_a_value() -> None:
    one, same = RetryPolicy(backoff=1), policy(backoff=1.0)
    assert one == same
    assert hash(one) == hash(same)
    assert one != RetryPolicy()
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.attempts = 5  # type: ignore[misc]
    changed = dataclasses.replace(same, attempts=5)
    assert (changed.attempts, changed.backoff, changed.random) == (5, 1.0, same.random)
    with pytest.raises(ClientConfigurationError):
        dataclasses.replace(one, attempts=0)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_copies_and_pickles(duplicate: Callable[[Any], Any]) -> None:
    mine = RetryPolicy(attempts=7, statuses=frozenset({503}))
    assert duplicate(mine) == mine
    assert duplicate(Decision(None, "x")) == Decision(None, "x")


def test_a_pickle_does_not_hold_the_state_of_chance() -> None:
    assert len(pickle.dumps(RetryPolicy())) < 500
    random.seed(1)
    expected = RetryPolicy().delay(1)
    random.seed(1)
    assert pickle.loads(pickle.dumps(RetryPolicy())).delay(1) == expected


def test_importing_does_not_load_chance() -> None:
    code = "import sys; sys.modules.pop('random', None); import humanloop.retries\n"
    code += "assert 'random' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("attempt", "longest"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (1100, 8.0), (10**400, 8.0)],
)
def test_the_backoff_doubles_up_to_its_cap(attempt: int, longest: float) -> None:
    assert policy().delay(attempt) == longest
    assert policy(random=lambda: 0.0).delay(attempt) == 0.0
    assert policy(random=lambda: 0.25).delay(attempt) == longest / 4


seconds = st.floats(0, sys.float_info.max) | st.integers(0, 10**300)


@given(seconds, seconds, st.integers(1, 5000), st.floats(0, 1))
@example(sys.float_info.max, sys.float_info.max, 5000, 1.0)
def test_no_delay_is_longer_than_the_cap(
    backoff: float, cap: float, attempt: int, chance: float
) -> None:
    delay = RetryPolicy(backoff=backoff, backoff_cap=cap, random=lambda: chance).delay(attempt)
    assert 0 <= delay <= cap
    assert math.isfinite(delay)


def test_full_jitter_spans_everything_up_to_the_longest() -> None:
    random.seed(0)
    delays = sorted(RetryPolicy().delay(3) for _ in range(2000))
    assert 0 <= delays[0] < 0.02
    assert 1.98 < delays[-1] <= 2.0
    assert 0.9 < delays[1000] < 1.1


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "007"}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": " \t5 "}, 5.0),
        ({"Retry-After": "9" * 400}, sys.float_info.max),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "-0"}, None),
        ({"Retry-After": "+1"}, None),
        ({"Retry-After": ".5"}, None),
        ({"Retry-After": "5."}, None),
        ({"Retry-After": "1e3"}, None),
        ({"Retry-After": "1_000"}, None),
        ({"Retry-After": "0x10"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "5\n"}, None),
        ({"Retry-After": "5, 5"}, None),
        ({"Retry-After": "5 s"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "-inf"}, None),
        ({"Retry-After": "Infinity"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After-Ms": "0.5"}, 0.0005),
        ({"Retry-After-Ms": "0"}, 0.0),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After-Ms": "-250", "Retry-After": "1"}, 1.0),
        ({"Retry-After-Ms": "nan"}, None),
        ({"Retry-After-Ms": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
    ],
)
def test_retry_after_as_a_number(headers: dict[str, str], wait: float | None) -> None:
    assert parse_retry_after(headers, NOW) == wait
    lower = Headers({name.lower(): value for name, value in headers.items()})
    assert parse_retry_after(lower, NOW) == wait


@pytest.mark.parametrize(
    ("date", "wait"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (" Sun, 06 Nov 1994 08:50:07 GMT ", 30.0),
        ("Thu, 29 Feb 1996 08:49:37 GMT", 41472000.0),
        ("Wed, 29 Feb 1995 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:00:00 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 +9999", None),
        ("Sun, 06 Nob 1994 08:49:37 GMT", None),
        ("1994-11-06T08:49:37Z", None),
    ],
)
def test_retry_after_as_a_date(date: str, wait: float | None) -> None:
    assert parse_retry_after({"Retry-After": date}, NOW) == wait


@given(st.datetimes(datetime(1995, 1, 1), datetime(2040, 1, 1)), st.integers(0, 10**8))
def test_the_three_forms_of_an_http_date_say_the_same(now: datetime, wait: int) -> None:
    """RFC 9110, section 5.6.7."""
    now = now.replace(microsecond=0, tzinfo=timezone.utc)
    until = now + timedelta(seconds=wait)
    forms = (
        format_datetime(until, usegmt=True),
        until.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        until.ctime(),
    )
    for form in forms:
        assert parse_retry_after({"Retry-After": form}, now.timestamp()) == wait


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("Sun, 06 Nov 1994 07:49:37 GMT", 3630.0),  # this clock is an hour ahead of the server's
        ("Sunday, 06-Nov-94 08:49:47 GMT", 20.0),
        ("Sun Nov  6 08:50:00 1994", 7.0),
        ("Sun, 06 Nov 1994 09:49:37 GMT", 0.0),
        ("yesterday", 30.0),
        ("", 30.0),
        ("12", 30.0),
        ("Sun, 31 Nov 1994 09:49:37 GMT", 30.0),
    ],
)
def test_the_servers_clock_goes_before_ours(said: str, wait: float) -> None:
    headers = {"Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT", "Date": said}
    assert parse_retry_after(headers, NOW) == wait
    assert parse_retry_after({**headers, "Retry-After": "5"}, NOW) == 5.0


def test_a_fraction_of_a_second() -> None:
    headers = {"Retry-After": "Sun, 06 Nov 1994 08:49:38 GMT"}
    assert parse_retry_after(headers, NOW + 0.25) == 0.75


@given(st.text() | st.from_regex(r"[A-Z][a-z]+,? .*[0-9:]+ GMT"), st.text(), st.text())
def test_no_header_is_an_error(after: str, ms: str, date: str) -> None:
    headers = {"Retry-After": after, "Retry-After-Ms": ms, "Date": date}
    wait = parse_retry_after(headers, NOW)
    assert wait is None or (wait >= 0 and math.isfinite(wait))


ASKED = Decision(5.0)


@pytest.mark.parametrize(
    ("status", "repeatable", "plain", "asked"),
    [
        (408, True, BACKOFF, ASKED),
        (409, True, GIVE_UP, ASKED),
        (429, True, BACKOFF, ASKED),
        (500, True, BACKOFF, ASKED),
        (502, True, BACKOFF, ASKED),
        (503, True, BACKOFF, ASKED),
        (504, True, BACKOFF, ASKED),
        (408, False, BACKOFF, ASKED),
        (409, False, GIVE_UP, ASKED),
        (429, False, BACKOFF, ASKED),
        (500, False, GIVE_UP, GIVE_UP),
        (502, False, GIVE_UP, GIVE_UP),
        (503, False, GIVE_UP, ASKED),
        (504, False, GIVE_UP, GIVE_UP),
        *((status, True, GIVE_UP, GIVE_UP) for status in (200, 301, 400, 401, 404, 422, 501, 599)),
        *((status, False, GIVE_UP, GIVE_UP) for status in (200, 301, 400, 401, 404, 422, 501, 599)),
    ],
)
def test_after_a_response(status: int, repeatable: bool, plain: Decision, asked: Decision) -> None:
    assert response(status, repeatable=repeatable) == plain
    assert response(status, "5", repeatable=repeatable) == asked
    assert response(status, "Sun, 06 Nov 1994 08:49:42 GMT", repeatable=repeatable) == asked
    assert response(status, "garbage", repeatable=repeatable) == plain
    assert response(status, "5", attempt=3, repeatable=repeatable) == GIVE_UP
    assert response(status, using=policy(statuses={418}), repeatable=repeatable) == GIVE_UP


def test_statuses_of_ones_own() -> None:
    mine = policy(statuses={418, 425})
    assert response(418, using=mine) == BACKOFF
    assert response(418, "5", using=mine) == ASKED
    assert response(418, using=mine, repeatable=False) == GIVE_UP
    assert response(418, "5", using=mine, repeatable=False) == GIVE_UP


def test_the_backoff_grows_and_the_tries_end() -> None:
    mine = policy(attempts=6)
    waits = [response(503, using=mine, attempt=attempt).wait for attempt in range(1, 8)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, None, None]
    faults = [
        after_fault(mine, "broken", attempt=attempt, repeatable=True, sent=True).wait
        for attempt in range(1, 8)
    ]
    assert faults == waits
    assert response(503, "0", using=policy(attempts=1)) == GIVE_UP


def test_headers_are_found_whatever_their_case() -> None:
    headers = Headers({"RETRY-after-MS": "20"})
    decision = after_response(policy(), 429, headers, attempt=1, repeatable=False, now=0.0)
    assert decision == Decision(0.02)


@pytest.mark.parametrize(
    ("limit", "asked", "reason"),
    [
        (60.0, "60", None),
        (60, "61", "the server asks to wait 61 s, more than the 60 s that max_retry_after allows"),
        (60.0, "3600", "the server asks to wait 3600 s, more than the 60 s that max_retry"),
        (60.0, "60.25", "the server asks to wait 60.25 s, more than the 60 s that max_retry"),
        (0.5, "1234567.5", "the server asks to wait 1234567.5 s, more than the 0.5 s that max_"),
        (60.0, "9" * 400, "the server asks to wait 1.79769313486e+308 s, more than the 60 s"),
        (0, "0", None),
        (60.0, "Sun, 06 Nov 1994 09:49:37 GMT", "the server asks to wait 3600 s, more than the"),
    ],
)
@pytest.mark.parametrize(
    ("status", "repeatable"), [(429, True), (429, False), (409, True), (409, False), (503, False)]
)
def test_a_wait_that_is_too_long(
    limit: float, asked: str, reason: str | None, status: int, repeatable: bool
) -> None:
    mine = policy(max_retry_after=limit)
    decision = response(status, asked, using=mine, repeatable=repeatable)
    if reason is None:
        assert decision == Decision(float(asked))
    else:
        assert decision.wait is None
        assert decision.reason.startswith(reason)


def test_no_reason_where_there_was_no_retry_to_refuse() -> None:
    assert response(429, "3600", attempt=3) == GIVE_UP
    assert response(500, "3600", repeatable=False) == GIVE_UP
    assert response(404, "3600") == GIVE_UP
    assert GIVE_UP.reason == ""


@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize(
    ("sent", "repeatable", "decision"),
    [
        (False, False, BACKOFF),
        (False, True, BACKOFF),
        (True, False, GIVE_UP),
        (True, True, BACKOFF),
    ],
)
def test_after_a_fault(fault: Fault, sent: bool, repeatable: bool, decision: Decision) -> None:
    def decide(using: RetryPolicy, attempt: int = 1) -> Decision:
        return after_fault(using, fault, attempt=attempt, repeatable=repeatable, sent=sent)

    assert decide(policy()) == decision
    assert decide(policy(faults={fault})) == decision
    assert decide(policy(faults=FAULTS - {fault})) == GIVE_UP
    assert decide(policy(), attempt=3) == GIVE_UP
    assert decide(policy(attempts=1)) == GIVE_UP


@given(
    status=st.sampled_from([*STATUSES, 200, 404, 418]),
    headers=st.dictionaries(
        st.sampled_from(["Retry-After", "Retry-After-Ms"]), st.sampled_from(["1", "100", "x"])
    ),
    attempt=st.integers(1, 6),
    attempts=st.integers(1, 6),
    repeatable=st.booleans(),
)
def test_what_every_decision_keeps_to(
    status: int, headers: dict[str, str], attempt: int, attempts: int, repeatable: bool
) -> None:
    mine = policy(attempts=attempts)
    decision = after_response(
        mine, status, headers, attempt=attempt, repeatable=repeatable, now=0.0
    )
    if decision.wait is not None:
        assert attempt < attempts
        assert status in mine.statuses
        assert 0 <= decision.wait <= mine.max_retry_after
        assert decision.reason == ""
        asked = parse_retry_after(headers, 0.0)
        assert decision.wait == (mine.delay(attempt) if asked is None else asked)
        if not repeatable:
            # Whatever is tried without leave is tried with it, too.
            leave = after_response(mine, status, headers, attempt=attempt, repeatable=True, now=0.0)
            assert leave == decision
