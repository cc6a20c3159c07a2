"""Each format: OpenAPI 3.0.3 Data Types; JSON Schema Validation (draft-wright-json-schema-
validation-00) section 7.3; and the RFCs that these refer to, named beside the tables."""

from __future__ import annotations

import struct
import sys
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal as D
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from humanloop.schemas import (
    FORMATS,
    DateSchema,
    DateTimeSchema,
    DecimalSchema,
    SchemaValidationError,
    UUIDSchema,
)

from .support import accepts, deadline, make

# RFC 3339 section 5.6, date-time. The first five are the examples of section 5.8. Section 5.7: a
# leap second ends a month in UTC; appendix C: 2000 is a leap year, 1900 is none.
DATE_TIMES = [
    "1985-04-12T23:20:50.52Z",
    "1996-12-19T16:39:57-08:00",
    "1990-12-31T23:59:60Z",
    "1990-12-31T15:59:60-08:00",
    "1937-01-01T12:00:27.87+00:20",
    "2024-02-29T00:00:00Z",
    "2000-02-29T00:00:00Z",
    "0000-02-29T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "2024-01-01t00:00:00z",
    "2024-01-01T23:59:59.999999999999Z",
    "2024-01-01T00:00:00.0Z",
    "2024-01-01T00:00:00-00:00",
    "2024-01-01T00:00:00+23:59",
    "2024-01-01T00:00:00-23:59",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:60Z",
    "1998-12-31T23:59:60.123Z",
    "1998-06-30T23:59:60z",
    "2017-01-01T05:29:60+05:30",
    "2016-12-31T00:00:60-23:59",
    "2024-02-29T23:59:60Z",
    "2024-03-01T00:59:60+01:00",
    "2024-02-29T22:59:60-01:00",
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
    "1998-12-31T23:58:60Z",
    "2016-12-31T23:59:60-01:00",
    "2016-12-31T23:59:60+01:00",
    "2024-02-28T23:59:60Z",
    "2024-02-28T22:59:60-01:00",
    "2024-02-15T23:59:60Z",
    "2024-03-02T00:59:60+01:00",
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
    "-0001-01-01T00:00:00Z",
    "24-01-01T00:00:00Z",
    "2024-1-1T00:00:00Z",
    "2024-01-01T00:00:00Z\n",
    " 2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00Z ",
    "\u0662024-01-01T00:00:00Z",
    "2024-01-01T00:00:0\u0661Z",
    "2024-01-01T00:00:00.\u0661Z",
    "2024-01-01T00:00:00 Z",
    "2024-01-01T00:00:00z+01:00",
    "2024-01-01T00:00:00\u221201:00",
    "2024-01-01\u017f00:00:00Z",
]
# RFC 3339 section 5.6, full-date.
DATES = ["2024-02-29", "2000-02-29", "0000-02-29", "0001-01-01", "9999-12-31", "2023-12-31"]
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
# RFC 4122 section 3: the string form, of any version, in either case.
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
# RFC 4648 section 4. Section 3.5 lets a decoder take pad bits that are not zero ("QR==", "QUJ="),
# as most do.
BYTES = ["", "QQ==", "QUI=", "QUJD", "+/+/", "QUJDRA==", "QR==", "QUJ="]
NOT_BYTES = [
    "Q",
    "QQ",
    "QQ=",
    "QUJ",
    "Q===",
    "====",
    "==",
    "=QUJ",
    "QUJDR",
    "QQ==QQ==",
    "QUI==",
    "Q Q=",
    "QQ==\n",
    "QUJD\n",
    "QUJ\n",
    "_-_-",
    "\u00e4\u00e4\u00e4\u00e4",
]
# A JSON number, RFC 8259 section 6, in a string; its exponent has to be one that can be held.
NUMERIC = [
    "0",
    "-0",
    "1",
    "-1.5",
    "1e5",
    "1E+5",
    "0.10",
    "1e-400",
    "12345678901234567890.123456789",
]
NOT_NUMERIC = [
    "",
    "a",
    "NaN",
    "Infinity",
    "-inf",
    "1,5",
    "0x10",
    "1e",
    "+1",
    ".5",
    "5.",
    "007",
    " 1",
    "1\n",
    "1_000",
    "\u0661",
    "1e9999999999999999999",
]
# RFC 5322 section 3.4.1 without comments and folding; the domain as RFC 5321 section 4.1 has it.
EMAILS = [
    "ada@example.com",
    "a.d.a@example",
    "~ada+tag@xn--4gbwdl.xn--wgbh1c",
    "!#$%&'*+/=?^_`{|}~-@example.com",
    '"ada lovelace"@example.com',
    '"a..b"@example.com',
    '"a@b"@example.com',
    '"a\\"b\\\\"@example.com',
    '""@example.com',
    "ada@[192.0.2.1]",
    "ada@[IPv6:2001:db8::1]",
    f"{'a' * 65}@example.com",
]
NOT_EMAILS = [
    "",
    "2962",
    "ada",
    "@",
    "ada@",
    "@example.com",
    ".ada@example.com",
    "ada.@example.com",
    "a..da@example.com",
    "ada lovelace@example.com",
    "a@b@example.com",
    '"a"b@example.com',
    '"a"b"@example.com',
    '"a\\"@example.com',
    '"\\\\""@example.com',
    '"@example.com',
    '"a\nb"@example.com',
    "ada@exa_mple.com",
    "ada@exa=mple.com",
    "ada@-example.com",
    "ada@example.com.",
    "ada@192.0.2.1]",
    "ada@[192.0.2.300]",
    "ada@[2001:db8::1]",
    "ada@[",
    "ada@example.com\n",
    "Ada <ada@example.com>",
    "ad\u00e4@example.com",
]
# RFC 1034 section 3.5 and RFC 1123 section 2.1; 253 characters are 255 octets in a message.
HOSTNAMES = [
    "www.example.com",
    "a",
    "3com.com",
    "1",
    "host-name",
    "xn--4gbwdl.xn--wgbh1c",
    "a" * 63,
    ".".join(["a" * 63] * 3 + ["a" * 61]),
    "192.0.2.1",
]
NOT_HOSTNAMES = [
    "",
    ".",
    "example.com.",
    ".example.com",
    "a..b",
    "-a",
    "a-",
    "a-.b",
    "a_b",
    "a b",
    "a\n",
    "a\n.b",
    "a" * 64,
    ".".join(["a" * 63] * 3 + ["a" * 62]),
    "b\u00fccher.example",
    "\u0661.example",
]
# RFC 3986 section 3.2.2, IPv4address.
IPV4 = ["0.0.0.0", "127.0.0.1", "255.255.255.255", "87.10.0.1", "249.199.99.9"]
NOT_IPV4 = [
    "",
    "127.0",
    "127.0.0.0.1",
    "127.0.0.",
    ".0.0.1",
    "256.0.0.1",
    "300.0.0.1",
    "087.10.0.1",
    "00.0.0.0",
    "0x7f000001",
    "2130706433",
    "192.168.1.0/24",
    "127.0.0.1\n",
    " 127.0.0.1",
    "-1.0.0.1",
    "1\u09e87.0.0.1",
]
# RFC 4291 section 2.2: "::" stands for one group of zeros or more.
IPV6 = [
    "::",
    "::1",
    "1::",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7::",
    "::2:3:4:5:6:7:8",
    "1:2::7:8",
    "ABCD:ef01:2345:6789:abcd:EF01:2345:6789",
    "::ffff:192.0.2.1",
    "1:2:3:4:5:6:192.0.2.1",
    "::192.0.2.1",
    "1::5:192.0.2.1",
    "0000:0000:0000:0000:0000:0000:255.255.255.255",
]
NOT_IPV6 = [
    "",
    ":",
    ":::",
    "1",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4::5:6:7:8",
    "1::2::3",
    ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:",
    "1::2:",
    ":1::2",
    "12345::",
    "::g",
    "192.0.2.1",
    "1:2:3:4:5:6:7:192.0.2.1",
    "1:2:3:4:5:192.0.2.1",
    "::192.0.2.256",
    "::192.0.2",
    "::192.0.2.1:1",
    "fe80::1%eth0",
    "fe80::/64",
    "[::1]",
    " ::1",
    "::1\n",
    "::\u09ea",
]
# RFC 3986 section 3, and the examples of section 1.1.2.
URIS = [
    "ftp://ftp.is.co.za/rfc/rfc1808.txt",
    "http://www.ietf.org/rfc/rfc2396.txt",
    "ldap://[2001:db8::7]/c=GB?objectClass?one",
    "mailto:John.Doe@example.com",
    "news:comp.infosystems.www.servers.unix",
    "tel:+1-816-555-1212",
    "telnet://192.0.2.16:80/",
    "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
    "http://a:b@example.com:/?q=%20#f?/",
    "http://[v1.a:b]/",
    "http:",
    "file:///etc/hosts",
    "a+b-c.1:x",
]
RELATIVE = ["", "/abc", "abc", "//example.com/a", "./a:b", "?q", "#f", "a/b:c", "../a", "//[::1]"]
NOT_REFERENCES = [
    "\\\\server\\share",
    "http:// example.com",
    "http://example.com/a b",
    ":// a",
    ":a",
    "1a:b",
    "bar,baz:foo",
    "a%",
    "a%2",
    "a%2g:",
    "http://a/%zz",
    "#a#b",
    "http://a b@example.com",
    "http://a@b@example.com",
    "http://[::1",
    "http://[::g]",
    "http://[1.2.3.4]",
    "http://[fe80::1%25eth0]",
    "http://a[::1]",
    "http://[v.a]",
    "http://example.com:8a",
    "http://example.com/[]",
    "http://example.com/{id}",
    "http://example.com/<a>",
    "http://example.com/\n",
    "http://b\u00fccher.example",
]
STRINGS: dict[str, tuple[list[str], list[str]]] = {
    "date-time": (DATE_TIMES, NOT_DATE_TIMES),
    "date": (DATES, NOT_DATES),
    "uuid": (UUIDS, NOT_UUIDS),
    "byte": (BYTES, NOT_BYTES),
    "number": (NUMERIC, NOT_NUMERIC),
    "email": (EMAILS, NOT_EMAILS),
    "hostname": (HOSTNAMES, NOT_HOSTNAMES),
    "ipv4": (IPV4, NOT_IPV4),
    "ipv6": (IPV6, NOT_IPV6),
    "uri": (URIS, [*RELATIVE, *NOT_REFERENCES]),
    "uriref": ([*URIS, *RELATIVE], NOT_REFERENCES),
    "uri-reference": ([*URIS, *RELATIVE], NOT_REFERENCES),
}


def cases() -> list[Any]:
    return [
        pytest.param(name, text, valid, id=f"{name}-{'valid' if valid else 'invalid'}-{text!r:.60}")
        for name, lists in STRINGS.items()
        for valid, texts in zip((True, False), lists, strict=True)
        for text in texts
    ]


@pytest.mark.parametrize(("name", "text", "valid"), cases())
def test_string_formats(name: str, text: str, valid: bool) -> None:
    """OpenAPI 3.0.3 Data Types and W 7.3, by the RFC that stands beside each table."""
    cls = make({"type": "string", "format": name})
    assert accepts(cls, text) is valid
    if valid:
        assert cls(text) == text, "the text is kept as it came"


def test_every_format_of_strings_is_tested_here() -> None:
    assert set(STRINGS) == {name for name, known in FORMATS.items() if known.kind == "string"}


@pytest.mark.parametrize("name", STRINGS)
def test_long_texts_take_linear_time(name: str) -> None:
    """A repeated part that fails at its very end is not tried again from each of its places."""
    size = 50_000
    parts = [
        "a",
        "1",
        ".",
        ":",
        "@",
        "%",
        "=",
        "/",
        "#",
        "?",
        "-",
        " ",
        "a.",
        "a:",
        "1.",
        "\\\\",
        "%aa",
    ]
    heads = ["", '"', "http://", "a@", "0.", "2024-01-01T00:00:00."]
    tails = ["", '"@a.b', "/\0"]
    cls = make({"type": "string", "format": name})
    with deadline(30):
        for head, part, tail in product(heads, parts, tails):
            try:
                cls(f"{head}{part * (size // len(part))}{tail}")
            except SchemaValidationError as error:
                assert [detail.keyword for detail in error.errors] == ["format"]  # noqa: PT017


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
        ("int64", -(10**400), False),
        ("int32", 0, True),
    ],
)
@pytest.mark.parametrize("kind", ["integer", "number"])
def test_integer_formats_are_ranges(kind: str, name: str, value: int, valid: bool) -> None:
    """OpenAPI 3.0.3 Data Types: signed 32 bits, signed 64 bits."""
    assert accepts({"type": kind, "format": name}, value) is valid


@pytest.mark.parametrize("name", ["int32", "int64"])
@pytest.mark.parametrize("value", [1.0, D("1.0"), D("1E+2"), 1.5, D("1E+1000000000"), D("1E-400")])
def test_an_integer_format_wants_integers_of_numbers_too(name: str, value: Any) -> None:
    """OpenAPI 3.0.3 Data Types: both are integers, which have no fraction or exponent part."""
    assert accepts({"type": "number"}, value)
    assert not accepts({"type": "number", "format": name}, value)
    assert not accepts({"format": name}, value)


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("float", 0.1, True),
        ("float", 7, True),
        ("float", D("3.4E+38"), True),
        ("float", D("-3.5E+38"), False),
        ("float", (2**24 - 1) * 2**104, True),
        ("float", struct.unpack("f", b"\xff\xff\x7f\x7f")[0], True),
        ("float", 2**128 - 2**103 - 1, True),
        ("float", 2**128 - 2**103, False),
        ("float", D("1E+39"), False),
        ("float", D("-1E+39"), False),
        ("float", D("1E-400"), True),
        ("float", D("-1E+1000000000"), False),
        ("double", sys.float_info.max, True),
        ("double", -sys.float_info.max, True),
        ("double", 2**1024 - 2**970 - 1, True),
        ("double", 2**1024 - 2**970, False),
        ("double", -(2**1024 - 2**970), False),
        ("double", 10**400, False),
        ("double", D("1E+400"), False),
        ("double", D("1E-400"), True),
        ("double", D("0.1000000000000000000000000000000000001"), True),
        ("double", D("1E+1000000000"), False),
        ("double", D("1E-1000000000"), True),
    ],
)
def test_number_formats_are_ranges(name: str, value: Any, valid: bool) -> None:
    """OpenAPI 3.0.3 Data Types: float and double; IEEE 754 section 4.3.1 rounds to a finite number
    below the limit. More digits than fit, and numbers that round to 0, are no error."""
    with deadline():
        assert accepts({"type": "number", "format": name}, value) is valid
        assert accepts({"format": name}, value) is valid


@pytest.mark.parametrize("name", STRINGS)
@pytest.mark.parametrize("value", [1, True, None, ["?"], {"?": 1}])
def test_a_format_of_strings_is_checked_for_strings_only(name: str, value: Any) -> None:
    """W 7.1: a format speaks of its own type."""
    assert accepts({"format": name}, value)
    assert not accepts({"format": name}, "\\")


@pytest.mark.parametrize("name", ["int32", "int64", "float", "double"])
@pytest.mark.parametrize("value", ["x", True, None, [0.5], {"a": 0.5}])
def test_a_format_of_numbers_is_checked_for_numbers_only(name: str, value: Any) -> None:
    """W 7.1."""
    assert accepts({"format": name}, value)


@pytest.mark.parametrize("name", ["password", "something-else", "regex", "Date-Time", ""])
def test_other_formats_are_documentation(name: str) -> None:
    """OpenAPI 3.0.3 Data Types: `format` is open, `password` a hint to obscure the input."""
    for value in ("", "\0", "x" * 100):
        assert accepts({"type": "string", "format": name}, value)
    assert not accepts({"type": "string", "format": name}, 1)


def test_binary_is_bytes() -> None:
    """OpenAPI 3.0.3 Data Types: any sequence of octets, which JSON has no text for."""
    schema = {"type": "string", "format": "binary"}
    assert accepts(schema, b"\x00\xff")
    assert not accepts(schema, "text")
    assert not accepts({"type": "string"}, b"text")


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


@pytest.mark.parametrize("text", ["0000-01-01T00:00:00Z", "9999-12-31T23:59:60Z"])
def test_as_datetime_says_what_datetime_can_not_hold(text: str) -> None:
    """Years 1 to 9999: RFC 3339 has one more, and a second more."""
    with pytest.raises(ValueError, match=r"9999|year 0"):
        _ = DateTimeSchema(text).as_datetime


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
    thing = make({"properties": {"a": {"type": "string", "format": name}}})
    for text in STRINGS[name][0]:
        part = thing({"a": text})["a"]
        assert isinstance(part, cls)
        assert part == text
