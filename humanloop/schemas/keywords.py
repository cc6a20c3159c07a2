"""The keywords that constrain a single value, each defined once: its type, its test, its phrase.

Source of the rules: OpenAPI 3.0.3, Schema Object, and the draft that it extends (JSON Schema
Validation, draft-wright-json-schema-validation-00, section 5). A keyword has no effect on values of
other types.

Numbers are compared and divided exactly at any exponent, whatever the caller's decimal context.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any

from humanloop.schemas.casting import INVALID, cast, is_array, is_object, kind_of
from humanloop.schemas.codec import encode
from humanloop.schemas.formats import FORMATS

__all__ = ["BOUNDS", "Check", "checks_of"]

_EXACT = Context(MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, capitals=1, clamp=0, flags=[], traps=[])
_LONGEST = Decimal(sys.maxsize)


@dataclass(frozen=True)
class Check:
    """One keyword of one schema; `holds` tests a cast value."""

    keyword: str
    holds: Callable[[Any], bool]
    phrase: str


def checks_of(schema: Mapping[str, Any]) -> dict[str, list[Check]]:
    """Return the checks of a schema object, by the JSON type to which they apply ("": every type).

    Raises:
        ValueError: a keyword has an invalid value.
    """
    checks: dict[str, list[Check]] = {}
    for keyword, (kind, make) in BOUNDS.items():
        if keyword in schema and not (keyword == "uniqueItems" and schema[keyword] is False):
            holds, phrase = make(schema[keyword], schema)
            checks.setdefault(kind, []).append(Check(keyword, holds, phrase))
    known = FORMATS.get(schema.get("format", ""))
    if known:
        checks.setdefault(known.kind, []).append(Check("format", known.holds, known.phrase))
    return checks


# -- comparing values -----------------------------------------------------------------------------


def _identity(value: Any) -> Hashable:
    """Return a key that is the same for two values exactly when they are equal as JSON values.

    1 and 1.0 are equal, 1 and true are not, the order of keys does not count.
    """
    if isinstance(value, str):
        return value
    if is_array(value):
        return ("array", *map(_identity, value))
    if is_object(value):
        return ("object", *((key, _identity(value[key])) for key in sorted(value)))
    if isinstance(value, Decimal):
        # A text, since hashes of numbers can be made to collide.
        return ("number", _EXACT.to_sci_string(_reduced(value)))
    # A value that was refused already gets no second error: it equals nothing else.
    return (kind_of(value), object() if value is INVALID else value)


def _all_differ(values: list[Any]) -> bool:
    return len({_identity(value) for value in values}) == len(values)


# -- numbers --------------------------------------------------------------------------------------


def _reduced(number: Decimal) -> Decimal:
    """Return the same number without trailing zeros, 0 without sign."""
    return Decimal.normalize(number, _EXACT) if number else Decimal(0)


def _split(number: Decimal) -> tuple[Decimal, int]:
    """Return the digits of a number without trailing zeros, as an integer, and its exponent."""
    reduced = _reduced(number)
    exponent = int(reduced.as_tuple().exponent)
    return reduced.scaleb(-exponent, _EXACT), exponent


def _number(keyword: str, limit: Any) -> Decimal:
    value = cast(limit)[0]
    if not isinstance(value, Decimal):
        raise ValueError(f"{keyword} has to be a number, got {limit!r:.40}")
    return value


def _count(keyword: str, limit: Any) -> int:
    value = _number(keyword, limit)
    if value < 0 or _split(value)[1] < 0:
        raise ValueError(f"{keyword} has to be a whole number from 0 up, got {limit!r:.40}")
    return int(min(value, _LONGEST))


Made = tuple[Callable[[Any], bool], str]


# The limit's own methods compare in C; an operator would call the number's methods first, in
# Python.


def _minimum(limit: Any, schema: Mapping[str, Any]) -> Made:
    low = _number("minimum", limit)
    if schema.get("exclusiveMinimum") is True:
        return low.__lt__, f"a number above {low}"
    return low.__le__, f"a number of at least {low}"


def _maximum(limit: Any, schema: Mapping[str, Any]) -> Made:
    high = _number("maximum", limit)
    if schema.get("exclusiveMaximum") is True:
        return high.__gt__, f"a number below {high}"
    return high.__ge__, f"a number of at most {high}"


def _multiple_of(limit: Any, schema: Mapping[str, Any]) -> Made:
    step = _number("multipleOf", limit)
    if step <= 0:
        raise ValueError(f"multipleOf has to be above 0, got {limit!r:.40}")
    digits, scale = _split(step)
    divisor = int(digits)

    def holds(number: Decimal) -> bool:
        dividend, exponent = _split(number)
        shift = exponent - scale
        if shift < 0:
            # Without trailing zeros, an integer other than 0 is no multiple of 10.
            return not number
        # int() is slow for many digits, so its argument has no more than the divisor.
        rest = int(_EXACT.remainder(dividend, digits))
        return rest * pow(10, shift, divisor) % divisor == 0

    return holds, f"a multiple of {step}"


def _length(keyword: str, bound: str, noun: str) -> Callable[[Any, Mapping[str, Any]], Made]:
    """Return the keyword for a length: strings in code points, arrays in items, objects in keys."""

    def make(limit: Any, schema: Mapping[str, Any]) -> Made:
        count = _count(keyword, limit)
        phrase = f"at {bound} {count:,} {noun}{'' if count == 1 else 's'}"
        if bound == "least":
            return lambda value: len(value) >= count, phrase
        return lambda value: len(value) <= count, phrase

    return make


def _pattern(limit: Any, schema: Mapping[str, Any]) -> Made:
    from humanloop.schemas.patterns import compile_pattern  # most schemas have no pattern

    search = compile_pattern(limit).search
    return lambda text: search(text) is not None, f"a string that matches {limit!r:.80}"


def _unique_items(limit: Any, schema: Mapping[str, Any]) -> Made:
    return _all_differ, "items that all differ"


def _enum(limit: Any, schema: Mapping[str, Any]) -> Made:
    values, errors = cast(limit)
    if not is_array(values) or errors:
        raise ValueError(f"enum has to be a list of JSON values, got {limit!r:.40}")
    options = [repr(v) if isinstance(v, str) else f"{encode(v):.60}" for v in values]
    phrase = options[0] if len(options) == 1 else f"one of {', '.join(options) or 'no values'}"
    known = {_identity(value) for value in values}
    return lambda value: _identity(value) in known, phrase


BOUNDS: dict[str, tuple[str, Callable[[Any, Mapping[str, Any]], Made]]] = {
    "enum": ("", _enum),
    "minimum": ("number", _minimum),
    "maximum": ("number", _maximum),
    "multipleOf": ("number", _multiple_of),
    "minLength": ("string", _length("minLength", "least", "character")),
    "maxLength": ("string", _length("maxLength", "most", "character")),
    "pattern": ("string", _pattern),
    "minItems": ("array", _length("minItems", "least", "item")),
    "maxItems": ("array", _length("maxItems", "most", "item")),
    "uniqueItems": ("array", _unique_items),
    "minProperties": ("object", _length("minProperties", "least", "key")),
    "maxProperties": ("object", _length("maxProperties", "most", "key")),
}
"""Each constraining keyword: the JSON type to which it applies, and the function that makes its
check.
"""
