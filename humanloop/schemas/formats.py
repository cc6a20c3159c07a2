"""The values of the `format` keyword that are checked, each defined once.

A format speaks of values of its own JSON type only. `FORMATS` holds for each how it is tested, how
a message words it and how the documentation does; a format that is not listed is documentation
alone, as OpenAPI 3.0.3 (section Data Types) leaves formats open.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from humanloop.schemas.casting import is_integer

__all__ = ["FORMATS", "Format", "parse_date", "parse_datetime"]


@dataclass(frozen=True)
class Format:
    """A format: the JSON type that it speaks of, its test, its phrase, its note in docs."""

    kind: str
    holds: Callable[[Any], bool]
    phrase: str
    note: str = ""


_DATE = r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12][0-9]|3[01])"
_TIME = (
    r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
    r"(?P<fraction>\.[0-9]+)?"
)
_OFFSET = r"(?P<offset>[Zz]|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):(?P<minutes>[0-5][0-9]))"
_full_date = re.compile(_DATE).fullmatch
_date_time = re.compile(f"{_DATE}[Tt]{_TIME}{_OFFSET}").fullmatch
_uuid = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}").fullmatch
_base64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch

_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _day_exists(found: re.Match[str]) -> bool:
    year, month, day = int(found["year"]), int(found["month"]), int(found["day"])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= _DAYS[month - 1] + (leap and month == 2)


def _is_date(text: str) -> bool:
    """RFC 3339 full-date."""
    found = _full_date(text)
    return found is not None and _day_exists(found)


def _offset_minutes(found: re.Match[str]) -> int:
    if found["sign"] is None:
        return 0
    minutes = int(found["hours"]) * 60 + int(found["minutes"])
    return -minutes if found["sign"] == "-" else minutes


def _is_date_time(text: str) -> bool:
    """RFC 3339 date-time; a 60th second only at 23:59 UTC, where leap seconds are put."""
    found = _date_time(text)
    if found is None or not _day_exists(found):
        return False
    if found["second"] != "60":
        return True
    minute_of_day = int(found["hour"]) * 60 + int(found["minute"]) - _offset_minutes(found)
    return minute_of_day % 1440 == 1439


def _is_decimal(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _within(limit: Decimal) -> Callable[[Decimal], bool]:
    return lambda number: -limit <= number <= limit


def _integer_of(bits: int) -> Callable[[Decimal], bool]:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return lambda number: low <= number <= high and is_integer(number)


FORMATS: dict[str, Format] = {
    "date-time": Format(
        "string",
        _is_date_time,
        "an RFC 3339 date-time such as 2024-02-29T12:30:00Z",
        "value must conform to RFC-3339 date-time",
    ),
    "date": Format(
        "string",
        _is_date,
        "an RFC 3339 date such as 2024-02-29",
        "value must conform to RFC-3339 full-date YYYY-MM-DD",
    ),
    "uuid": Format(
        "string",
        lambda text: _uuid(text) is not None,
        "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
        "value must be a uuid",
    ),
    "byte": Format("string", lambda text: _base64(text) is not None, "base64 (RFC 4648)"),
    "number": Format(
        "string", _is_decimal, "a decimal number written as a string", "value must be numeric"
    ),
    "int32": Format(
        "number", _integer_of(32), "a 32-bit integer", "value must be a 32 bit integer"
    ),
    "int64": Format(
        "number", _integer_of(64), "a 64-bit integer", "value must be a 64 bit integer"
    ),
    "float": Format(
        "number",
        _within(Decimal("3.4028234663852886e38")),
        "a number within the range of a 32-bit float",
        "value must be a 32 bit float",
    ),
    "double": Format(
        "number",
        _within(Decimal("1.7976931348623157e308")),
        "a number within the range of a 64-bit float",
        "value must be a 64 bit float",
    ),
}


def parse_datetime(text: str) -> datetime:
    """The aware datetime that an RFC 3339 date-time means.

    A leap second is the first moment of the next minute, digits beyond microseconds are dropped.

    Raises:
        ValueError: `text` is no RFC 3339 date-time, or its year is 0000.
    """
    from dateutil.parser import isoparse

    if not _is_date_time(text):
        raise ValueError(f"{text!r:.60} is not an RFC 3339 date-time")
    text = text.upper()
    leap = text[17:19] == "60"
    moment = isoparse(f"{text[:17]}59{text[19:]}" if leap else text)
    return moment.replace(microsecond=0) + timedelta(seconds=1) if leap else moment


def parse_date(text: str) -> date:
    """The date that an RFC 3339 full-date means.

    Raises:
        ValueError: `text` is no RFC 3339 full-date, or its year is 0000.
    """
    if not _is_date(text):
        raise ValueError(f"{text!r:.60} is not an RFC 3339 date")
    return date.fromisoformat(text)
