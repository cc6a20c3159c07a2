"""The Python values that each JSON type takes, what they become, and what is refused."""

from __future__ import annotations

import dataclasses
import enum
import io
import warnings
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import numpy
import pandas
import pytest
from frozendict import frozendict

from humanloop import NaiveDatetimeWarning, schemas
from humanloop.schemas import (
    AnyTypeSchema,
    BoolClass,
    BoolSchema,
    DateSchema,
    DateTimeSchema,
    DictSchema,
    IntSchema,
    ListSchema,
    NoneClass,
    NoneSchema,
    NumberSchema,
    SchemaValidationError,
    StrSchema,
    UUIDSchema,
)

from .support import errors_of, make


class Pair(NamedTuple):
    first: int
    second: int


class Text(str):
    __slots__ = ()


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Ratio(float):
    pass


SINGLE = UUID("123e4567-e89b-12d3-a456-426614174000")

ACCEPTED: list[tuple[Any, Any, type, Any]] = [
    (DictSchema, {"a": 1}, frozendict, {"a": 1}),
    (DictSchema, frozendict(a=1), frozendict, {"a": 1}),
    (DictSchema, OrderedDict(b=1, a=2), frozendict, {"b": 1, "a": 2}),
    (DictSchema, MappingProxyType({"a": 1}), frozendict, {"a": 1}),
    (DictSchema, UserDict(a=1), frozendict, {"a": 1}),
    (ListSchema, [1, 2], tuple, (1, 2)),
    (ListSchema, (1, 2), tuple, (1, 2)),
    (ListSchema, Pair(1, 2), tuple, (1, 2)),
    (StrSchema, "a", str, "a"),
    (StrSchema, Text("a"), str, "a"),
    (StrSchema, Colour.RED, str, "red"),
    (NumberSchema, 1, Decimal, Decimal("1")),
    (NumberSchema, 10**400, Decimal, Decimal(10**400)),
    (NumberSchema, 0.1, Decimal, Decimal("0.1")),
    (NumberSchema, 0.7, Decimal, Decimal("0.7")),
    (NumberSchema, -0.0, Decimal, Decimal("0")),
    (NumberSchema, 5e-324, Decimal, Decimal("5e-324")),
    (NumberSchema, 1.7976931348623157e308, Decimal, Decimal("1.7976931348623157e308")),
    (NumberSchema, Ratio(0.25), Decimal, Decimal("0.25")),
    (NumberSchema, Decimal("1.10"), Decimal, Decimal("1.1")),
    (IntSchema, 3, Decimal, Decimal("3")),
    (IntSchema, Level.HIGH, Decimal, Decimal("3")),
    (IntSchema, Decimal("3"), Decimal, Decimal("3")),
    (BoolSchema, True, BoolClass, True),
    (BoolSchema, False, BoolClass, False),
    (NoneSchema, None, NoneClass, None),
    (UUIDSchema, SINGLE, str, str(SINGLE)),
    (DateSchema, date(2024, 2, 29), str, "2024-02-29"),
    (DateSchema, date(33, 1, 2), str, "0033-01-02"),
    (
        DateTimeSchema,
        datetime(2024, 2, 29, 1, 2, 3, tzinfo=timezone.utc),
        str,
        "2024-02-29T01:02:03+00:00",
    ),
]


@pytest.mark.parametrize(("cls", "value", "accessed", "equal"), ACCEPTED)
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "any"])
def test_accepted(cls: Any, value: Any, accessed: type, equal: Any, typed: bool) -> None:
    """Input Type and Accessed Type of the documentation's pages, alone and in a container."""
    for _ in range(4):
        made = (cls if typed else AnyTypeSchema)(value)
        assert isinstance(made, accessed)
        assert made == equal
        kind: Any = type(made)
        assert kind(made) == made, "an instance is an input, too"
        inside = DictSchema({"k": [value]})["k"][0]
        assert isinstance(inside, accessed)
        assert inside == equal


@pytest.mark.parametrize(
    ("cls", "value"),
    [
        (DictSchema, []),
        (DictSchema, [("a", 1)]),
        (DictSchema, "a"),
        (DictSchema, None),
        (ListSchema, {}),
        (ListSchema, "ab"),
        (ListSchema, b"ab"),
        (ListSchema, None),
        (StrSchema, 1),
        (StrSchema, True),
        (StrSchema, None),
        (StrSchema, b"a"),
        (StrSchema, ["a"]),
        (NumberSchema, "1"),
        (NumberSchema, True),
        (NumberSchema, BoolClass.TRUE),
        (NumberSchema, None),
        (IntSchema, 1.0),
        (IntSchema, Decimal("1.0")),
        (IntSchema, False),
        (BoolSchema, 1),
        (BoolSchema, 0),
        (BoolSchema, "true"),
        (BoolSchema, None),
        (NoneSchema, 0),
        (NoneSchema, ""),
        (NoneSchema, False),
        (DateSchema, datetime(2024, 1, 1, tzinfo=timezone.utc)),
        (DateTimeSchema, date(2024, 1, 1)),
    ],
)
def test_refused_by_the_type(cls: Any, value: Any) -> None:
    with pytest.raises(SchemaValidationError):
        cls(value)


NO_JSON: list[Any] = [
    float("nan"),
    float("inf"),
    float("-inf"),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("-Infinity"),
    1j,
    {1, 2},
    frozenset({1}),
    deque([1]),
    range(3),
    object(),
    int,
    len,
    time(1, 2),
    timedelta(1),
    bytearray(b"x"),
    memoryview(b"x"),
    io.StringIO("x"),
    iter([1]),
    {1: 2},
    {None: 2},
    {b"a": 2},
    {("a",): 2},
    Ellipsis,
    NotImplemented,
]


@pytest.mark.parametrize("value", NO_JSON, ids=lambda v: type(v).__name__)
def test_refused_by_every_schema(value: Any) -> None:
    """JSON has no place for it: a clear error, alone and deep inside."""
    for _ in range(4):
        with pytest.raises(SchemaValidationError):
            AnyTypeSchema(value)
        (place,) = errors_of(DictSchema, {"k": [0, {"a/b": value}]})
        assert place[0].startswith("/k/1/a~1b")
        assert place[1] == "type"


@pytest.mark.parametrize("value", [float("nan"), Decimal("-Infinity")])
def test_a_number_that_is_not_finite_is_named(value: Any) -> None:
    with pytest.raises(SchemaValidationError, match="finite"):
        NumberSchema(value)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0.1", "0.1"),
        ("1.10", "1.10"),
        ("12345678901234567890.123456789", "12345678901234567890.123456789"),
        ("1E-400", "1E-400"),
        ("-0.0", "-0.0"),
    ],
)
def test_decimals_keep_every_digit(text: str, kept: str) -> None:
    assert str(NumberSchema(Decimal(text))) == kept


def test_a_datetime_without_zone_is_utc_and_warns() -> None:
    """RFC 3339 needs an offset."""
    with pytest.warns(NaiveDatetimeWarning, match=r"datetime\.now\(timezone\.utc\)"):
        made = DateTimeSchema(datetime(2024, 1, 2, 3, 4, 5))
    assert made.as_datetime == datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def test_the_warning_names_the_line_of_the_program_once() -> None:
    def use(moment: datetime) -> None:
        DictSchema({"a": [moment]})
        make({"properties": {"at": {"format": "date-time"}}})({"at": moment})

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for day in (1, 2, 3):
            use(datetime(2024, 1, day))
            use(datetime(2024, 1, day, tzinfo=timezone.utc))
    line = use.__code__.co_firstlineno
    assert [(w.filename, w.lineno) for w in caught] == [(__file__, line + 1), (__file__, line + 2)]
    assert {w.category for w in caught} == {NaiveDatetimeWarning}


def test_the_warning_may_be_an_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", NaiveDatetimeWarning)
        for cls in (DateTimeSchema, AnyTypeSchema):
            with pytest.raises(NaiveDatetimeWarning):
                cls(datetime(2024, 1, 1))


@pytest.mark.parametrize(
    "offset",
    [
        timedelta(hours=1),
        timedelta(hours=-3, minutes=-30),
        timedelta(hours=23, minutes=59),
        timedelta(minutes=19, seconds=32),
        timedelta(microseconds=5),
        timedelta(0),
    ],
    ids=str,
)
@pytest.mark.parametrize("year", [1, 1800, 2024, 9998])
def test_every_datetime_becomes_an_rfc_3339_date_time(offset: timedelta, year: int) -> None:
    """RFC 3339 5.6 time-numoffset: hours and minutes; the moment stays the same."""
    moment = datetime(year, 6, 2, 3, 4, 5, 60, tzinfo=timezone(offset))
    made = DateTimeSchema(moment)
    assert made.as_datetime == moment
    free: Any = AnyTypeSchema(moment)
    assert free == made


# -- what is refused, and what is taken for it ----------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int = 1


class Tone(enum.Enum):
    WARM = 1


HINTS: list[tuple[Any, str]] = [
    (Path("a.txt"), "str(value)"),
    ({1, 2}, "list(value)"),
    (range(3), "list(value)"),
    ((n for n in (1, 2)), "list(value)"),
    ({}.keys(), "list(value)"),
    (bytearray(b"a"), "bytes(value)"),
    (time(1, 2), "value.isoformat()"),
    (timedelta(1), "value.total_seconds()"),
    (Fraction(1, 2), "float(value)"),
    (Tone.WARM, "value.value"),
    (Point(), "dataclasses.asdict(value)"),
    (io.StringIO("a"), "value.read()"),
    (numpy.array([1]), "value.tolist()"),
    (numpy.datetime64("2024-01-01"), "value.astype('datetime64[us]').item()"),
    (numpy.timedelta64(1, "D"), "value / numpy.timedelta64(1, 's')"),
    (pandas.Series([1]), "value.to_list()"),
    (pandas.DataFrame({"a": [1]}), "value.to_dict('records')"),
    (pandas.NA, "None"),
    (object(), "schemas.to_input"),
]


@pytest.mark.parametrize(("value", "hint"), HINTS, ids=lambda value: type(value).__name__)
def test_a_refusal_says_what_to_pass_instead(value: Any, hint: str) -> None:
    for schema in ({}, {"type": "string"}, {"type": "number"}):
        with pytest.raises(SchemaValidationError) as caught:
            make({"properties": {"a": schema}})({"a": value})
        (detail,) = caught.value.errors
        assert detail.message.startswith(f"expected a JSON value, got {type(value).__name__}, ")
        assert hint in detail.message
        assert detail.message.endswith("register the class with schemas.to_input")


@pytest.mark.parametrize(
    ("value", "equal"),
    [
        (numpy.int64(3), Decimal("3")),
        (numpy.uint8(3), Decimal("3")),
        (numpy.float64(0.7), Decimal("0.7")),
        (numpy.float32(0.7), Decimal("0.7")),
        (numpy.float16(0.1), Decimal("0.1")),
        (numpy.longdouble("0.1"), Decimal("0.1")),
        (numpy.bool_(True), True),
        (numpy.str_("a"), "a"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scalars_of_numpy_are_taken(value: Any, equal: Any) -> None:
    for _ in range(3):
        assert DictSchema(a=[value])["a"] == (equal,)
        assert str(AnyTypeSchema(value)) == str(equal)


def test_scalars_of_numpy_keep_to_the_schema() -> None:
    assert IntSchema(numpy.int64(3)) == 3
    assert errors_of(IntSchema, numpy.float64(3)) == [("", "type")]
    assert errors_of(StrSchema, numpy.int64(3)) == [("", "type")]
    assert errors_of(DictSchema, {"a": numpy.float32("nan")}) == [("/a", "type")]
    assert errors_of(DictSchema, {"a": pandas.NaT}) == [("/a", "type")]


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], io.BufferedReader]:
    (tmp_path / "f").write_bytes(b"data")
    return lambda: (tmp_path / "f").open("rb")


def test_bytes_and_files_stay_so(opened: Callable[[], io.BufferedReader]) -> None:
    """OpenAPI 3.0.3 Data Types: `binary` is any sequence of octets."""
    binary = make({"type": "string", "format": "binary"})
    assert isinstance(binary(b"\xff"), bytes)
    assert binary(b"\xff") == b"\xff"
    assert DictSchema({"a": b"x"})["a"] == b"x"
    with opened() as file, io.FileIO(file.name) as raw:
        assert binary(file) is file
        assert DictSchema({"a": raw})["a"] is raw
    assert errors_of(binary, "text") == [("", "type")]
    assert errors_of(binary, 1) == [("", "type")]
    assert errors_of(StrSchema, b"x") == [("", "type")]


def test_a_closed_file_is_refused(opened: Callable[[], io.BufferedReader]) -> None:
    file = opened()
    file.close()
    with pytest.raises(SchemaValidationError, match="closed"):
        AnyTypeSchema(file)


def test_keys_of_a_subclass_of_str_are_plain_afterwards() -> None:
    (key,) = DictSchema({Text("a"): 1})
    assert type(key) is str


def test_unset_keyword_arguments_are_not_given() -> None:
    assert DictSchema(a=1, b=schemas.unset) == {"a": 1}
    assert DictSchema({"a": 1}, b=2, a=3) == {"a": 3, "b": 2}
    assert not schemas.unset


@pytest.mark.parametrize("source", [dict, frozendict, DictSchema, MappingProxyType])
def test_nothing_of_the_input_is_aliased_or_changed(source: Callable[[Any], Any]) -> None:
    inner: dict[str, Any] = {"list": [1, {"x": [2]}], "tuple": ([3],)}
    given = source(inner)
    cls = make({"type": "object", "properties": {"list": {"type": "array"}}})
    for _ in range(4):
        made = cls(given)
        assert made == {"list": (1, {"x": (2,)}), "tuple": ((3,),)}
        assert inner == {"list": [1, {"x": [2]}], "tuple": ([3],)}
    inner["list"][1]["x"].append(9)
    inner["list"].append(8)
    inner["new"] = 7
    assert made == {"list": (1, {"x": (2,)}), "tuple": ((3,),)}
