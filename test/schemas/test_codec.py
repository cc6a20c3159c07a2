"""JSON text in and out (RFC 8259): every digit, every character, and what is not JSON."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from humanloop import schemas
from humanloop.exceptions import ApiValueError, OpenApiException
from humanloop.schemas import AnyTypeSchema, DictSchema, IntSchema, NumberSchema, StrSchema

from .support import deadline, errors_of


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-1",
        "0.1",
        "1.10",
        "-0.0",
        "12345678901234567890.123456789",
        "123456789012345678901234567890",
        "1e-400",
        "1E400",
        "1e1000000000",
        "1e0",
        "15e-1",
        "9" * 5000,
        "0." + "1" * 5000,
    ],
    ids=lambda text: text[:20],
)
def test_numbers_keep_every_digit_both_ways(text: str) -> None:
    with deadline():
        for source in (text, text.encode(), f"  {text} \n"):
            made: Any = AnyTypeSchema.from_json(source)
            assert made == Decimal(text)
            again = made.to_json()
            assert Decimal(again).compare_total(Decimal(str(made))) == 0
            digits = Decimal(text).as_tuple().digits
            assert Decimal(again).as_tuple().digits[: len(digits)] == digits
            json.loads(again, parse_int=Decimal, parse_float=Decimal)


@pytest.mark.parametrize(
    ("text", "valid"),
    [("1", True), ("-0", True), ("1.0", False), ("1e0", False), ("1E2", False), ("1.5e1", False)],
)
def test_the_notation_tells_an_integer(text: str, valid: bool) -> None:
    """JSON Schema Core 4.2 (wright-00): without a fraction or exponent part."""
    found = [] if valid else ["type"]
    with pytest.raises(ValueError, match="integer") if not valid else _nothing():
        IntSchema.from_json(text)
    value = schemas.loads(text)
    assert [keyword for _, keyword in errors_of(IntSchema, value)] == found


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize("text", ["1e99999999999999999999", "-1e-99999999999999999999", "1E+1" * 2])
def test_exponents_beyond_all_bounds_give_an_answer_or_a_clear_error(text: str) -> None:
    with deadline():
        for read in (AnyTypeSchema.from_json, schemas.loads):
            try:
                read(text)
            except ValueError as error:
                assert str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "data",
    [
        "",
        " ",
        "{",
        "[1,]",
        "{'a': 1}",
        '{"a" 1}',
        "01",
        "1.",
        ".5",
        "+1",
        "0x10",
        "nul",
        "NaN",
        "[Infinity]",
        "-Infinity",
        '"\t"',
        '"\\x"',
        '"a',
        "1 2",
        "\ufeff1",
        b"\xff",
        b'"\xc3"',
        b'"\xed\xa0\x80"',
    ],
)
def test_what_is_not_json_gets_a_clear_error(data: str | bytes) -> None:
    with pytest.raises(schemas.SchemaValidationError, match="JSON") as caught:
        AnyTypeSchema.from_json(data)
    (error,) = caught.value.errors
    assert (error.pointer, error.keyword) == ("", "json")
    with pytest.raises(ValueError, match=r"."):
        schemas.loads(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_bytes_are_read_in_the_encodings_of_json(encoding: str) -> None:
    """RFC 4627 section 3, RFC 8259 section 8.1."""
    text = '{"ä": "💩"}'
    assert DictSchema.from_json(text.encode(encoding)) == {"ä": "💩"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        ({"a": [1, None, True, False, "x"], "b": {}}, '{"a":[1,null,true,false,"x"],"b":{}}'),
        ("ä💩", '"ä💩"'),
        ('"\\\n\x00\x1f', '"\\"\\\\\\n\\u0000\\u001f"'),
        ("\ud800", '"\\ud800"'),
        ({"\udfff": 1}, '{"\\udfff":1}'),
        ("\u2028", '"\u2028"'),
        (0.1, "0.1"),
        (Decimal("1.10"), "1.10"),
        (True, "true"),
        (None, "null"),
        (date(2024, 2, 29), '"2024-02-29"'),
        (UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
        ((1, (2,)), "[1,[2]]"),
    ],
)
def test_to_json_is_compact_and_keeps_characters(value: Any, text: str) -> None:
    assert schemas.to_json(value) == text
    assert schemas.to_json(AnyTypeSchema(value)) == text
    made: Any = AnyTypeSchema(value)
    if hasattr(made, "to_json"):
        assert made.to_json() == text
    assert AnyTypeSchema.from_json(text) == made
    json.loads(text)


def test_a_surrogate_pair_is_one_character_and_a_lone_one_survives() -> None:
    """RFC 8259 section 8.2."""
    assert StrSchema.from_json('"\\ud83d\\ude00"') == "😀"
    lone = StrSchema.from_json('"\\ud83d"')
    assert lone == "\ud83d"
    assert lone.to_json().encode() == b'"\\ud83d"'


def test_duplicate_keys_give_an_answer() -> None:
    """RFC 8259 section 4 leaves it open; the last one counts, as nearly everywhere."""
    assert DictSchema.from_json('{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize(
    ("value", "plain", "kind"),
    [
        (1, 1, int),
        (10**30, 10**30, int),
        (0.5, 0.5, float),
        (Decimal("1.0"), 1.0, float),
        (Decimal("1E+2"), 100.0, float),
        (True, True, bool),
        (None, None, type(None)),
        ("a", "a", str),
        ((1,), [1], list),
        ({"a": ()}, {"a": []}, dict),
        (datetime(2024, 1, 1, tzinfo=timezone.utc), "2024-01-01T00:00:00+00:00", str),
    ],
)
def test_to_primitive_gives_plain_objects(value: Any, plain: Any, kind: type) -> None:
    for source in (value, AnyTypeSchema(value)):
        result = schemas.to_primitive(source)
        assert type(result) is kind
        assert result == plain
        json.dumps(result)


def test_to_primitive_is_new_and_numbers_may_stay_decimal() -> None:
    made = DictSchema({"a": [{"b": 0.1}]})
    first = made.to_primitive()
    first["a"][0]["b"] = "changed"
    assert made.to_primitive() == {"a": [{"b": 0.1}]}
    kept = made.to_primitive(numbers="decimal")["a"][0]["b"]
    assert type(kept) is Decimal
    assert kept == Decimal("0.1")


@pytest.mark.parametrize("numbers", ["int", "Decimal", "", None, ["float"]])
def test_to_primitive_names_the_kinds_of_numbers_that_there_are(numbers: Any) -> None:
    for write in (schemas.to_primitive, lambda value, **how: value.to_primitive(**how)):
        with pytest.raises(ApiValueError, match="numbers has to be 'float' or 'decimal', got "):
            write(DictSchema(a=1), numbers=numbers)


def test_numbers_beyond_floats_stay_decimal() -> None:
    with deadline():
        for text in ("1E+400", "-1E+1000000000"):
            assert NumberSchema(Decimal(text)).to_primitive() == Decimal(text)


@pytest.mark.parametrize("value", [{1}, object(), float("nan"), {"a": [b"x"]}, {1: 2}])
@pytest.mark.parametrize("write", [schemas.to_json])
def test_what_json_has_no_place_for_is_refused(write: Any, value: Any) -> None:
    with pytest.raises(ApiValueError):
        write(value)


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize("write", [schemas.to_json, schemas.to_primitive])
def test_cyclic_values_get_a_clear_error(write: Any) -> None:
    with deadline(), pytest.raises(OpenApiException, match="contains itself"):
        write(CYCLE)


def test_loads_gives_plain_python() -> None:
    loaded = schemas.loads('{"a": [1, 0.10, true, null, "x"]}')
    assert loaded == {"a": [1, Decimal("0.10"), True, None, "x"]}
    assert [type(item) for item in loaded["a"]] == [int, Decimal, bool, type(None), str]
    assert str(loaded["a"][1]) == "0.10"
