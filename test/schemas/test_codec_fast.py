"""With msgspec and without it, JSON text means the same, and is refused for the same reason."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanloop.exceptions import ApiValueError
from humanloop.schemas import AnyTypeSchema, to_json
from humanloop.schemas.codec import decoder, encode, encode_instance

from .generated import SETTINGS
from .support import deadline

pytest.importorskip("msgspec")

FAST, SLOW = decoder(Decimal, fast=True), decoder(Decimal, fast=False)


def result(decode: Any, data: Any) -> Any:
    try:
        return repr(decode(data))
    except (ValueError, TypeError) as error:
        return type(error), str(error)


def agree(data: Any) -> Any:
    found = result(FAST, data)
    assert found == result(SLOW, data)
    return found


TEXTS = [
    *(
        "1",
        "-0",
        "1.0",
        "1e0",
        "1.5e1",
        "10e-1",
        "1E400",
        "-0.0",
        "1e-400",
        "0.10",
        "01",
        "1.",
        ".5",
    ),
    *("9" * 5000, "9" * 5000 + ".5", "-" + "9" * 4301, "18446744073709551616", "1e" + "9" * 30),
    *("NaN", "Infinity", "-Infinity", "[NaN]", "nul", "", " ", "[1,]", '{"a":1,}', "{a:1}", "'a'"),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"\\udc00\\ud800"', '"\x01"', '"\\x"', '"\\u00"', '"\x7f"'),
    *('{"a":1,"a":2}', '{"a":1}x', "[1] []", "\ufeff1", "\xa01", "\x0b1", '"\\u0000"', "+1", "--1"),
    *("[" * 100_000, "[" * 500 + "]" * 500, '{"a":' * 100_000, '"💩é"', "\t[ 1 , 2 ]\r\n"),
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_texts_near_the_edges(text: str) -> None:
    with deadline(10):
        agree(text)
        data = text.encode("utf-8", "surrogatepass")
        for form in (data, bytearray(data)):
            agree(form)
    for encoding in ("utf-8-sig", "utf-16", "utf-32-le"):
        agree(text[:1000].encode(encoding, "surrogatepass"))


@pytest.mark.parametrize("data", [b'"\xff"', b'"\xed\xa0\x80"', b"\x80", None, 1, ["[1]"]])
def test_what_is_no_text(data: Any) -> None:
    kind, message = agree(data)
    assert issubclass(kind, (ValueError, TypeError))
    assert message


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(), max_size=6),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(), max_size=4), inner, max_size=4),
    ),
    max_leaves=10,
)


@SETTINGS
@given(JSON, st.booleans(), st.integers(0, 40), st.sampled_from([*'"{}[],:.-e\\u0\x00 ', ""]))
def test_any_text(value: Any, ascii_only: bool, place: int, char: str) -> None:
    """Also what is no JSON, as one character is put into it."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    agree(text)
    agree(text[:place] + char + text[place:])
    agree(text[: len(text) - place])


@SETTINGS
@given(JSON)
def test_what_is_written(value: Any) -> None:
    instance: Any = AnyTypeSchema(value)
    assert encode_instance(instance) == encode(instance) == to_json(value)


@pytest.mark.parametrize("value", [b"x", {"a": [b"x"]}, [bytearray(b"x")]])
def test_bytes_are_not_written(value: Any) -> None:
    """msgspec would write them in base64."""
    try:
        instance: Any = AnyTypeSchema({"a": value})
    except ValueError:
        return
    with pytest.raises(ApiValueError, match="can't be written as JSON"):
        instance.to_json()
    assert instance["a"] == value or instance["a"] == {"a": (b"x",)}
