"""Each format: OpenAPI 3.0.3 Data Types, RFC 3339 section 5.6, RFC 4122 section 3, RFC 4648."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from humanloop.schemas import DateSchema, DateTimeSchema, DecimalSchema, UUIDSchema

from .support import accepts, deadline, make

DATE_TIMES = [
    "1985-04-12T23:20:50.52Z",  # the five examples of RFC 3339 section 5.8
    "1996-12-19T16:39:57-08:00",
    "1990-12-31T23:59:60Z",
    "1990-12-31T15:59:60-08:00",
    "1937-01-01T12:00:27.87+00:20",
    "2024-02-29T00:00:00Z",
    "2000-02-29T00:00:00Z",
    "2024-01-01t00:00:00z",
    "2024-01-01T23:59:59.999999999999Z",
    "2024-01-01T00:00:00-00:00",
    "2024-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "1998-12-31T23:59:60.123Z",
    "2017-01-01T05:29:60+05:30",
]
NOT_DATE_TIMES = [
    "",
    "2024-01-01",
    "2024-01-01T00:00:00",
    "2024-01-01 00:00:00Z",
    "2024-01-01T24:00:00Z",
    "2024-01-01T00:60:00Z",
    "2024-01-01T00:00:61Z",
    "2024-01-01T12:00:60Z",
    "2016-12-31T23:59:60-01:00",
    "2024-01-01T00:00:00+24:00",
    "2024-01-01T00:00:00+00:60",
    "2024-01-01T00:00:00+0100",
    "2024-01-01T00:00:00+01",
    "2024-01-01T00:00Z",
    "2024-01-01T00:00:00.Z",
    "2024-01-01T00:00:00,5Z",
    "2023-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2024-04-31T00:00:00Z",
    "2024-13-01T00:00:00Z",
    "2024-00-01T00:00:00Z",
    "2024-01-00T00:00:00Z",
    "2024-01-32T00:00:00Z",
    "2023-W01-1T12:00:01Z",
    "2024-001T00:00:00Z",
    "20240101T000000Z",
    "+2024-01-01T00:00:00Z",
    "24-01-01T00:00:00Z",
    "2024-1-1T00:00:00Z",
    "2024-01-01T00:00:00Z\n",
    " 2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00Z ",
    "\u0662024-01-01T00:00:00Z",
    "2024-01-01T00:00:0\u0661Z",
    "2024-01-01T00:00:00 Z",
    "2024-01-01T00:00:00z+01:00",
    "2024-01-01T00:00:00\u221201:00",
]
DATES = ["2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "2023-12-31"]
NOT_DATES = [
    "",
    "2020",
    "2020-01",
    "2023-02-29",
    "1900-02-29",
    "2024-04-31",
    "2024-13-01",
    "2024-00-10",
    "2024-01-00",
    "20240101",
    "2024-W01-1",
    "2024-001",
    "24-01-01",
    "2024-1-1",
    "2024/01/01",
    "2024-01-01T00:00:00Z",
    "2024-01-01\n",
    "2024-01-0\u0661",
]
UUIDS = [
    "123e4567-e89b-12d3-a456-426614174000",
    "123E4567-E89B-12D3-A456-426614174000",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
]
NOT_UUIDS = [
    "",
    "{123e4567-e89b-12d3-a456-426614174000}",
    "urn:uuid:123e4567-e89b-12d3-a456-426614174000",
    "123e4567e89b12d3a456426614174000",
    "123e4567-e89b-12d3-a456-42661417400",
    "123e4567-e89b-12d3-a456-4266141740000",
    "g23e4567-e89b-12d3-a456-426614174000",
    "123e4567-e89b12d3-a456-426614174000-",
    "123e4567-e89b-12d3-a456-426614174000\n",
    "\u0661\u06623e4567-e89b-12d3-a456-426614174000",
]
BYTES = ["", "QQ==", "QUI=", "QUJD", "+/+/"]
NOT_BYTES = [
    "Q",
    "QQ",
    "QQ=",
    "QUJDR",
    "QQ==QQ==",
    "Q Q=",
    "QQ==\n",
    "_-_-",
    "\u00e4\u00e4\u00e4\u00e4",
]
NUMERIC = ["0", "1", "-1.5", "1e5", "0.1", "12345678901234567890.123456789"]
NOT_NUMERIC = ["", "a", "NaN", "Infinity", "-inf", "1,5", "0x10", "1e"]


def cases(table: dict[str, tuple[list[str], list[str]]]) -> list[Any]:
    return [
        pytest.param(name, text, valid, id=f"{name}-{'valid' if valid else 'invalid'}-{text!r}")
        for name, lists in table.items()
        for valid, texts in zip((True, False), lists, strict=True)
        for text in texts
    ]


@pytest.mark.parametrize(
    ("name", "text", "valid"),
    cases(
        {
            "date-time": (DATE_TIMES, NOT_DATE_TIMES),
            "date": (DATES, NOT_DATES),
            "uuid": (UUIDS, NOT_UUIDS),
            "byte": (BYTES, NOT_BYTES),
            "number": (NUMERIC, NOT_NUMERIC),
        }
    ),
)
def test_string_formats(name: str, text: str, valid: bool) -> None:
    """RFC 3339 5.6 date-time and full-date, RFC 4122 3, RFC 4648 4; a decimal in a string."""
    cls = make({"type": "string", "format": name})
    assert accepts(cls, text) is valid
    if valid:
        assert cls(text) == text, "the text is kept as it came"


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("int32", 2**31 - 1, True),
        ("int32", 2**31, False),
        ("int32", -(2**31), True),
        ("int32", -(2**31) - 1, False),
        ("int64", 2**63 - 1, True),
        ("int64", 2**63, False),
        ("int64", -(2**63), True),
        ("int64", -(2**63) - 1, False),
        ("int64", 10**400, False),
    ],
)
def test_integer_formats_are_ranges(name: str, value: int, valid: bool) -> None:
    """OpenAPI 3.0.3 Data Types: signed 32 bits, signed 64 bits."""
    assert accepts({"type": "integer", "format": name}, value) is valid


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("float", Decimal("3.4E+38"), True),
        ("float", Decimal("-3.5E+38"), False),
        ("float", 0.1, True),
        ("float", 7, True),
        ("double", 1.7976931348623157e308, True),
        ("double", Decimal("1.8E+308"), False),
        ("double", Decimal("-1.8E+308"), False),
        ("double", Decimal("1E-400"), True),
        ("double", Decimal("1E+1000000000"), False),
        ("float", Decimal("-1E+1000000000"), False),
        ("double", Decimal("1E-1000000000"), True),
    ],
)
def test_number_formats_are_ranges(name: str, value: Any, valid: bool) -> None:
    """OpenAPI 3.0.3 Data Types: float and double."""
    with deadline():
        assert accepts({"type": "number", "format": name}, value) is valid


@pytest.mark.parametrize("name", ["date-time", "date", "uuid", "byte"])
@pytest.mark.parametrize("value", [1, True, None, ["x"], {"x": 1}])
def test_a_format_of_strings_is_checked_for_strings_only(name: str, value: Any) -> None:
    """JSON Schema Validation 7.1: a format speaks of its own type."""
    assert accepts({"format": name}, value)
    assert not accepts({"format": name}, "?")


MOMENT = datetime(2024, 2, 29, 12, 30, 15, 250000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29T12:30:15.25Z", MOMENT),
        ("2024-02-29t12:30:15.25z", MOMENT),
        ("2024-02-29T14:00:15.25+01:30", MOMENT),
        ("2024-02-29T12:30:15.250000999Z", MOMENT),
        ("2024-02-29T12:30:15.25-00:00", MOMENT),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=timezone.utc)),
        ("2016-12-31T15:59:60-08:00", datetime(2017, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_as_datetime_is_aware(text: str, moment: datetime) -> None:
    """The accessor with and without the suffix of version 0.5."""
    value = DateTimeSchema(text)
    assert value.as_datetime == value.as_datetime_oapg == moment
    assert value.as_datetime.tzinfo is not None


def test_as_datetime_keeps_the_offset() -> None:
    moment = DateTimeSchema("2024-02-29T14:00:15+01:30").as_datetime
    assert moment.utcoffset() == timedelta(hours=1, minutes=30)


def test_the_other_accessors() -> None:
    text = "123e4567-e89b-12d3-a456-426614174000"
    assert UUIDSchema(text).as_uuid == UUIDSchema(text).as_uuid_oapg == UUID(text)
    assert DateSchema("2024-02-29").as_date == date(2024, 2, 29)
    assert DateSchema("2024-02-29").as_date_oapg == date(2024, 2, 29)
    assert DecimalSchema("0.10").as_decimal == DecimalSchema("0.10").as_decimal_oapg
    assert str(DecimalSchema("0.10").as_decimal) == "0.10"


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("date-time", DateTimeSchema),
        ("date", DateSchema),
        ("uuid", UUIDSchema),
        ("number", DecimalSchema),
    ],
)
def test_unnamed_parts_have_the_accessors_too(name: str, cls: type) -> None:
    texts = {"date-time": DATE_TIMES, "date": DATES, "uuid": UUIDS, "number": NUMERIC}
    thing = make({"properties": {"a": {"type": "string", "format": name}}})
    for text in texts[name]:
        part = thing({"a": text})["a"]
        assert isinstance(part, cls)
        assert part == text
