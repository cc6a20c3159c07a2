"""Library functions that run outside of the sandbox: those of `statistics` and `difflib`.

They run in the server's process. Nothing here trusts its arguments: any code in the sandbox can
make such a call, with any values. Invariants: the size of values is limited before anything is
computed from them, and code that takes more than linear time checks a clock, so a call ends within
the time that its run has left.
"""

from __future__ import annotations

import difflib
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, SupportsIndex, cast

_MOST_NUMBERS = 10_000  # numbers that `statistics` accepts; it needs up to 0.2 s for these
_MOST_ELEMENTS = 100_000  # elements that `difflib` accepts
_MOST_TEXT = 200_000  # characters in the arguments of one call
_MOST_BITS = 1024  # bits of a number: as many as in the largest float
_MOST_DIGITS = 100  # digits of a Decimal, on each side of its point


class Clock:
    """The time limit of a run, checked by the work under it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.perf_counter() + seconds

    @property
    def is_over(self) -> bool:
        """Return whether the time is used up."""
        return time.perf_counter() > self._end

    def check(self) -> None:
        """Raise TimeoutError when the time is used up."""
        if self.is_over:
            raise TimeoutError("the time limit was reached in a library function")


class Host:
    """The callable that answers the calls of one run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, name: object, *arguments: Any) -> Any:
        """Call the named function; raise its errors as types that the sandbox has."""
        try:
            return _FUNCTIONS[str(name)](self._clock, *arguments)
        except statistics.StatisticsError as error:
            raise ValueError(str(error)) from None


def _number(value: Any) -> Any:
    """Return the number if arithmetic on it stays cheap; raise an error for others."""
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and value.bit_length() <= _MOST_BITS:
        return value
    if isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        if isinstance(exponent, str) or max(len(digits), abs(exponent)) <= _MOST_DIGITS:
            return value
    if isinstance(value, (int, Decimal)):
        raise OverflowError("this number is too large or too precise for the library")
    raise TypeError(f"expected a number, got {type(value).__name__}")


def _numbers(values: Any) -> list[Any]:
    return [_number(each) for each in _items(values, _MOST_NUMBERS)]


def _items(values: object, most: int) -> Sequence[Any]:
    if not isinstance(values, list):
        raise TypeError(f"expected a list, got {type(values).__name__}")
    items = cast("Sequence[Any]", values)
    if len(items) > most:
        raise ValueError(f"the library takes at most {most} values, got {len(items)}")
    return items


def _text(value: Any, most: int = _MOST_TEXT) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {type(value).__name__}")
    if len(value) > most:
        raise ValueError(f"the library takes at most {most} characters, got {len(value)}")
    return value


def _scalars(values: Any, most: int) -> list[Any]:
    """Return values that can be hashed and compared."""
    items = _items(values, most)
    scalars = [each if each is None or isinstance(each, str) else _number(each) for each in items]
    if sum(len(each) for each in scalars if isinstance(each, str)) > _MOST_TEXT:
        raise ValueError(f"the library takes at most {_MOST_TEXT} characters together")
    return scalars


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose arguments are lists of numbers, or None where one is optional."""

    def call(_clock: Clock, *lists: Any) -> Any:
        given = [None if each is None else _numbers(each) for each in lists]
        return function(*given)

    return call


def _of_numbers_around(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose arguments are a list of numbers and, optionally, their mean."""

    def call(_clock: Clock, values: Any, mean: Any = None) -> Any:
        return function(_numbers(values), None if mean is None else _number(mean))

    return call


def _of_scalars(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose argument is a list of numbers or strings."""

    def call(_clock: Clock, values: Any) -> Any:
        return function(_scalars(values, _MOST_NUMBERS))

    return call


def _quantiles(_clock: Clock, values: Any, n: Any, method: Any) -> Any:
    if not isinstance(n, int) or n > _MOST_NUMBERS:
        raise ValueError(f"n must be an int, at most {_MOST_NUMBERS}")
    return statistics.quantiles(_numbers(values), n=n, method=cast("Any", _text(method, 100)))


def _linear_regression(_clock: Clock, x: Any, y: Any) -> Any:
    return tuple(statistics.linear_regression(_numbers(x), _numbers(y)))


class _ClockedText(str):
    """A string that checks a clock whenever one of its characters is read."""

    __slots__ = ("_clock",)
    _clock: Clock

    @classmethod
    def of(cls, text: str, clock: Clock) -> _ClockedText:
        made = cls(text)
        made._clock = clock
        return made

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        self._clock.check()
        return super().__getitem__(key)


class _ClockedList(list[Any]):
    """A list that checks a clock whenever one of its items is read."""

    __slots__ = ("_clock",)
    _clock: Clock

    @classmethod
    def of(cls, items: Iterable[Any], clock: Clock) -> _ClockedList:
        made = cls(items)
        made._clock = clock
        return made

    def __getitem__(self, key: Any) -> Any:
        self._clock.check()
        return super().__getitem__(key)


def _clocked(value: Any, clock: Clock) -> Sequence[Any]:
    """Return a sequence for `difflib`, whose loops all read items one by one."""
    if isinstance(value, str):
        return _ClockedText.of(_text(value), clock)
    return _ClockedList.of(_scalars(value, _MOST_ELEMENTS), clock)


def _matcher(clock: Clock, how: Any, a: Any, b: Any, autojunk: Any, *bounds: Any) -> Any:
    """Return the result of a SequenceMatcher method, with matches as plain tuples."""
    matcher = difflib.SequenceMatcher(
        None, _clocked(a, clock), _clocked(b, clock), autojunk=bool(autojunk)
    )
    if how in ("ratio", "quick_ratio", "real_quick_ratio", "get_opcodes"):
        return getattr(matcher, how)()
    if how == "get_matching_blocks":
        return [tuple(block) for block in matcher.get_matching_blocks()]
    if how == "find_longest_match":
        a_low, a_high, b_low, b_high = bounds
        return tuple(
            matcher.find_longest_match(
                _bound(a_low, 0, len(a)),
                _bound(a_high, len(a), len(a)),
                _bound(b_low, 0, len(b)),
                _bound(b_high, len(b), len(b)),
            )
        )
    raise AttributeError(f"'SequenceMatcher' object has no attribute {str(how)[:100]!r}")


def _bound(value: Any, default: int, most: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"a bound must be an int from 0 to {most}")
    return value


def _close_matches(clock: Clock, word: Any, possibilities: Any, n: Any, cutoff: Any) -> list[str]:
    words = [_text(each) for each in _scalars(possibilities, _MOST_ELEMENTS)]
    if not isinstance(n, int):
        raise TypeError("n must be an int")
    found = difflib.get_close_matches(
        _text(word), [_ClockedText.of(each, clock) for each in words], n, _number(cutoff)
    )
    return [str(each) for each in found]


def _lines(values: Any, clock: Clock) -> list[Any]:
    """Return lines that check the clock as well, since `ndiff` compares them with each other."""
    lines = [_text(each) for each in _scalars(values, _MOST_ELEMENTS)]
    return _ClockedList.of((_ClockedText.of(each, clock) for each in lines), clock)


def _diff(clock: Clock, how: Any, a: Any, b: Any, *options: Any) -> list[str]:
    """Return the lines of a diff."""
    before, after = _lines(a, clock), _lines(b, clock)
    if how == "ndiff":
        return [str(line) for line in difflib.ndiff(before, after)]
    fromfile, tofile, fromdate, todate, n, lineterm = options
    if not isinstance(n, int):
        raise TypeError("n must be an int")
    function = difflib.context_diff if how == "context_diff" else difflib.unified_diff
    lines = function(
        before,
        after,
        _text(fromfile, 1000),
        _text(tofile, 1000),
        _text(fromdate, 1000),
        _text(todate, 1000),
        n,
        _text(lineterm, 10),  # it occurs once for each part
    )
    return [str(line) for line in lines]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        name: _of_numbers(getattr(statistics, name))
        for name in (
            "mean",
            "fmean",
            "geometric_mean",
            "harmonic_mean",
            "median",
            "median_low",
            "median_high",
            "covariance",
            "correlation",
        )
    },
    **{
        name: _of_numbers_around(getattr(statistics, name))
        for name in ("stdev", "pstdev", "variance", "pvariance")
    },
    "mode": _of_scalars(statistics.mode),
    "multimode": _of_scalars(statistics.multimode),
    "quantiles": _quantiles,
    "linear_regression": _linear_regression,
    "SequenceMatcher": _matcher,
    "get_close_matches": _close_matches,
    "diff": _diff,
}
