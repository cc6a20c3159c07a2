"""The checked values of the `format` keyword, each defined once.

A format applies only to values of its own JSON type. `FORMATS` contains for each its test, and its
phrases in messages and in the documentation; a format that is not listed is documentation alone, as
OpenAPI 3.0.3 (section Data Types) leaves formats open. String formats that OpenAPI does not define
itself are those of JSON Schema Validation (draft-wright-json-schema-validation-00), section 7.3.

Every test takes time linear in the length of the text, whatever the text is: a repeated part of a
regular expression is always one set of characters that excludes the next character. Digits are
ASCII digits.
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
    """A format: its JSON type, its test, its phrase, its note in the documentation."""

    kind: str
    holds: Callable[[Any], bool]
    phrase: str
    note: str = ""


# -- dates and times: RFC 3339 --------------------------------------------------------------------

_DATE = r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12][0-9]|3[01])"
_TIME = (
    r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
    r"(?P<fraction>\.[0-9]+)?"
)
_OFFSET = r"(?P<offset>[Zz]|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):(?P<minutes>[0-5][0-9]))"
_full_date = re.compile(_DATE).fullmatch
_date_time = re.compile(f"{_DATE}[Tt]{_TIME}{_OFFSET}").fullmatch

_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _days_of_month(found: re.Match[str]) -> int:
    year, month = int(found["year"]), int(found["month"])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _DAYS[month - 1] + (leap and month == 2)


def _day_exists(found: re.Match[str]) -> bool:
    return int(found["day"]) <= _days_of_month(found)


def _is_date(text: str) -> bool:
    """Return whether the text is an RFC 3339 full-date."""
    found = _full_date(text)
    return found is not None and _day_exists(found)


def _offset_minutes(found: re.Match[str]) -> int:
    if found["sign"] is None:
        return 0
    minutes = int(found["hours"]) * 60 + int(found["minutes"])
    return -minutes if found["sign"] == "-" else minutes


def _is_date_time(text: str) -> bool:
    """Return whether the text is an RFC 3339 date-time.

    A 60th second is allowed only where leap seconds are inserted (section 5.7).
    """
    found = _date_time(text)
    if found is None or not _day_exists(found):
        return False
    return found["second"] != "60" or _ends_a_month(found)


def _ends_a_month(found: re.Match[str]) -> bool:
    """Return whether a minute is the last one of a month in UTC."""
    minute = int(found["hour"]) * 60 + int(found["minute"]) - _offset_minutes(found)
    days_on, minute_of_day = divmod(minute, 1440)  # in UTC it may be the day before
    last_days = (0, _days_of_month(found))  # day 0 is the last one of the month before
    return minute_of_day == 1439 and int(found["day"]) + days_on in last_days


# -- encodings and numbers ------------------------------------------------------------------------

_UUID = "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[Ee][+-]?[0-9]+)?"


def _only(characters: str, text: str) -> bool:
    """Return whether a text has only `characters`, a regular expression's set without brackets."""
    return re.search(f"[^{characters}]", text) is None


def _is_uuid(text: str) -> bool:
    """Return whether the text is a UUID (RFC 4122 section 3), without the prefix `urn:uuid:`."""
    return re.fullmatch(_UUID, text) is not None


def _is_base64(text: str) -> bool:
    """Return whether the text is base64 (RFC 4648 section 4): padded, on one line.

    Pad bits may be set: section 3.5 allows this.
    """
    return len(text) % 4 == 0 and _only("A-Za-z0-9+/", text.removesuffix("=").removesuffix("="))


def _is_decimal(text: str) -> bool:
    """Return whether the text is a JSON number (RFC 8259 section 6) that a `Decimal` can hold."""
    try:
        return re.fullmatch(_NUMBER, text) is not None and Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _below(limit: int) -> Callable[[Decimal], bool]:
    """Return a test for absolute values; any small number passes, since it rounds to 0."""
    exact = Decimal(limit)
    return lambda number: number.copy_abs() < exact


def _integer_of(bits: int) -> Callable[[Decimal], bool]:
    is_above = Decimal(-(2 ** (bits - 1)) - 1).__lt__
    is_below = Decimal(2 ** (bits - 1)).__gt__
    return lambda number: is_above(number) and is_below(number) and is_integer(number)


# -- names in a network ---------------------------------------------------------------------------
# Compiled when first needed: few schemas use them.

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ATOM = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~.-"
_NAME = r"-A-Za-z0-9._~!$&'()*+,;=%"  # unreserved, sub-delims and "%"
_SCHEME = "[A-Za-z][A-Za-z0-9+.-]*"
_PARTS = "(?:([^:/?#]+):)?(?://([^/?#]*))?(.*)"  # RFC 3986, appendix B: every text has them
_REST = f"{_NAME}:@/?"  # of the path, the query and the fragment
_AUTHORITY = rf"(?:[{_NAME}:]*@)?(?:\[([^\]]*)\]|[{_NAME}]*)(?::[0-9]*)?"
_FUTURE = rf"[Vv][0-9A-Fa-f]+\.[{_NAME.replace('%', '')}:]+"


def _is_hostname(text: str) -> bool:
    """Return whether the text is a host name: RFC 1034 section 3.5.

    Labels may begin with a digit (RFC 1123 section 2.1).
    """
    return len(text) <= 253 and all(re.fullmatch(_LABEL, label) for label in text.split("."))


def _is_ipv4(text: str) -> bool:
    """Return whether the text is an IPv4 address: four octets without leading zeros.

    Source: RFC 3986 section 3.2.2, IPv4address.
    """
    return re.fullmatch(rf"{_OCTET}(?:\.{_OCTET}){{3}}", text) is not None


def _is_ipv6(text: str) -> bool:
    """Return whether the text is an IPv6 address: RFC 4291 section 2.2, all three forms."""
    if len(text) > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"):
        return False
    head, _, last = text.rpartition(":")
    if "." in last:
        if not _is_ipv4(last):
            return False
        text = f"{head}:0:0"
    left, gap, right = text.partition("::")
    groups = [group for side in (left, right) if side for group in side.split(":")]
    return (len(groups) < 8 if gap else len(groups) == 8) and all(
        re.fullmatch("[0-9A-Fa-f]{1,4}", group) for group in groups
    )


def _is_email(text: str) -> bool:
    """Return whether the text is an email address.

    Source: RFC 5322 section 3.4.1, without comments, folding and obsolete forms. The part after the
    `@` is a host name or an address (RFC 5321 section 4.1.3).
    """
    local, at, domain = text.rpartition("@")
    if not at or not (_is_dot_atom(local) or _is_quoted(local)):
        return False
    if domain[:1] == "[" and domain[-1] == "]":
        address = domain[1:-1]
        return _is_ipv6(address[5:]) if address[:5].lower() == "ipv6:" else _is_ipv4(address)
    return _is_hostname(domain)


def _is_dot_atom(text: str) -> bool:
    if text.startswith(".") or text.endswith(".") or ".." in text:
        return False
    return text != "" and _only(_ATOM, text)


def _is_quoted(text: str) -> bool:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return False
    return _only(r"\t !#-\[\]-~", re.sub(r"\\[\t -~]", "", text[1:-1]))


def _is_uri(text: str) -> bool:
    """Return whether the text is a URI: RFC 3986 section 3, a reference with a scheme."""
    return re.match(f"{_SCHEME}:", text) is not None and _is_uri_reference(text)


def _is_uri_reference(text: str) -> bool:
    """Return whether the text is a URI reference: RFC 3986 section 4.1.

    Without a scheme, the first segment has no colon (section 4.2).
    """
    found = re.fullmatch(_PARTS, text, re.DOTALL)
    assert found is not None
    scheme, authority, rest = found.groups()
    if scheme is not None and re.fullmatch(_SCHEME, scheme) is None:
        return False
    if scheme is None and authority is None and rest.startswith(":"):
        return False
    if not _only(_REST, rest.replace("#", "", 1)) or re.search("%(?![0-9A-Fa-f]{2})", text):
        return False
    return authority is None or _is_authority(authority)


def _is_authority(text: str) -> bool:
    """Return whether the text is an authority: RFC 3986 section 3.2."""
    found = re.fullmatch(_AUTHORITY, text)
    if found is None:
        return False
    literal = found[1]
    return literal is None or _is_ipv6(literal) or re.fullmatch(_FUTURE, literal) is not None


_URI_REFERENCE = Format(
    "string",
    _is_uri_reference,
    "a URI reference such as /a?b=c#d",
    "value must conform to RFC-3986 URI-reference",
)

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
        _is_uuid,
        "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
        "value must be a uuid",
    ),
    "byte": Format("string", _is_base64, "base64 (RFC 4648)"),
    "email": Format(
        "string",
        _is_email,
        "an e-mail address such as ada@example.com",
        "value must conform to RFC-5322 addr-spec",
    ),
    "hostname": Format(
        "string",
        _is_hostname,
        "a host name such as www.example.com",
        "value must conform to RFC-1034 host name",
    ),
    "ipv4": Format(
        "string",
        _is_ipv4,
        "an IPv4 address such as 192.0.2.1",
        "value must conform to RFC-3986 IPv4address",
    ),
    "ipv6": Format(
        "string",
        _is_ipv6,
        "an IPv6 address such as 2001:db8::1",
        "value must conform to RFC-4291 IPv6 address",
    ),
    "uri": Format(
        "string",
        _is_uri,
        "a URI such as https://example.com/a?b=c",
        "value must conform to RFC-3986 URI",
    ),
    "uriref": _URI_REFERENCE,
    "uri-reference": _URI_REFERENCE,
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
        # From half a unit beyond the largest float on, rounding (IEEE 754) gives infinity.
        _below(2**128 - 2**103),
        "a number within the range of a 32-bit float",
        "value must be a 32 bit float",
    ),
    "double": Format(
        "number",
        _below(2**1024 - 2**970),
        "a number within the range of a 64-bit float",
        "value must be a 64 bit float",
    ),
}


def parse_datetime(text: str) -> datetime:
    """Return the aware datetime of an RFC 3339 date-time.

    A leap second becomes the first moment of the next minute; digits beyond microseconds are
    dropped.

    Raises:
        ValueError: `text` is not an RFC 3339 date-time, or its year is not 1 to 9999.
    """
    from dateutil.parser import isoparse

    if not _is_date_time(text):
        raise ValueError(f"{text!r:.60} is not an RFC 3339 date-time")
    text = text.upper()
    leap = text[17:19] == "60"
    moment = isoparse(f"{text[:17]}59{text[19:]}" if leap else text)
    if not leap:
        return moment
    try:
        return moment.replace(microsecond=0) + timedelta(seconds=1)
    except OverflowError:
        raise ValueError(f"{text} ends after the year 9999") from None


def parse_date(text: str) -> date:
    """Return the date of an RFC 3339 full-date.

    Raises:
        ValueError: `text` is not an RFC 3339 full-date, or its year is 0000.
    """
    if not _is_date(text):
        raise ValueError(f"{text!r:.60} is not an RFC 3339 date")
    return date.fromisoformat(text)
