"""The keywords that bound a single value, each defined once: type it speaks of, test, phrase.

Source of the rules: OpenAPI 3.0.3, Schema Object, and the draft that it extends (JSON Schema
Validation, draft-wright-json-schema-validation-00, section 5). A keyword says nothing of values of
other types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from humanloop.schemas.casting import cast, is_array, is_object
from humanloop.schemas.formats import FORMATS
from humanloop.schemas.patterns import compile_pattern

__all__ = ["Check", "canonical", "checks_of"]


@dataclass(frozen=True)
class Check:
    """One keyword of one schema: `holds` tells whether a cast value obeys it."""

    keyword: str
    holds: Callable[[Any], bool]
    phrase: str


def checks_of(schema: Mapping[str, Any]) -> dict[str, list[Check]]:
    """The checks of a schema object, by the JSON type that they speak of ("" is every type).

    Raises:
        ValueError: a keyword has a value that it can't have.
    """
    checks: dict[str, list[Check]] = {}
    for keyword, (kind, make) in _KEYWORDS.items():
        limit = schema.get(keyword)
        if limit is not None and limit is not False:
            holds, phrase = make(limit, schema)
            checks.setdefault(kind, []).append(Check(keyword, holds, phrase))
    known = FORMATS.get(schema.get("format", ""))
    if known:
        checks.setdefault(known.kind, []).append(Check("format", known.holds, known.phrase))
    return checks


def canonical(value: Any) -> Any:
    """A hashable form of a cast value that is equal exactly when the JSON values are equal.

    1 and 1.0 are equal, 1 and true are not, and the order of an object's keys does not count.
    """
    if isinstance(value, bool):
        return ("boolean", value)
    if is_object(value):
        return ("object", frozenset((key, canonical(item)) for key, item in value.items()))
    if is_array(value):
        return ("array", tuple(map(canonical, value)))
    if isinstance(value, Decimal):
        return ("number", *_reduced(value))
    return value


def _reduced(number: Decimal) -> tuple[int, str, int]:
    """Sign, digits and exponent without trailing zeros: cheap at any exponent."""
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    short = text.rstrip("0")
    return (sign, short, int(exponent) + len(text) - len(short)) if short else (0, "", 0)


def _number(keyword: str, limit: Any) -> Decimal:
    value = cast(limit)[0]
    if not isinstance(value, Decimal):
        raise ValueError(f"{keyword} has to be a number, got {limit!r:.40}")
    return value


def _count(keyword: str, limit: Any) -> int:
    value = _number(keyword, limit)
    if value < 0 or value != value.to_integral_value():
        raise ValueError(f"{keyword} has to be a whole number from 0 up, got {limit!r:.40}")
    return int(value)


Made = tuple[Callable[[Any], bool], str]


def _minimum(limit: Any, schema: Mapping[str, Any]) -> Made:
    low = _number("minimum", limit)
    if schema.get("exclusiveMinimum") is True:
        return lambda number: number > low, f"a number above {low}"
    return lambda number: number >= low, f"a number of at least {low}"


def _maximum(limit: Any, schema: Mapping[str, Any]) -> Made:
    high = _number("maximum", limit)
    if schema.get("exclusiveMaximum") is True:
        return lambda number: number < high, f"a number below {high}"
    return lambda number: number <= high, f"a number of at most {high}"


def _multiple_of(limit: Any, schema: Mapping[str, Any]) -> Made:
    step = _number("multipleOf", limit)
    if step <= 0:
        raise ValueError(f"multipleOf has to be above 0, got {limit!r:.40}")
    return lambda number: _divides(step, number), f"a multiple of {step}"


def _divides(step: Decimal, number: Decimal) -> bool:
    """Whether `number` is a whole multiple of `step`, exactly, at any exponent."""
    (_, digits, exponent), (_, step_digits, step_exponent) = number.as_tuple(), step.as_tuple()
    if not any(digits):
        return True
    dividend, divisor = (int(Decimal((0, d, 0))) for d in (digits, step_digits))
    shift = int(exponent) - int(step_exponent)
    if shift >= 0:
        return dividend % divisor * pow(10, shift, divisor) % divisor == 0
    return -shift <= len(digits) and dividend % (divisor * 10**-shift) == 0


def _length(keyword: str, bound: str, noun: str) -> Callable[[Any, Mapping[str, Any]], Made]:
    """A bound on a length: of strings in code points, of arrays in items, of objects in keys."""

    def make(limit: Any, schema: Mapping[str, Any]) -> Made:
        count = _count(keyword, limit)
        phrase = f"at {bound} {count:,} {noun}{'' if count == 1 else 's'}"
        if bound == "least":
            return lambda value: len(value) >= count, phrase
        return lambda value: len(value) <= count, phrase

    return make


def _pattern(limit: Any, schema: Mapping[str, Any]) -> Made:
    search = compile_pattern(limit).search
    return lambda text: search(text) is not None, f"a string that matches {limit!r:.80}"


def _unique_items(limit: Any, schema: Mapping[str, Any]) -> Made:
    return lambda items: len(set(map(canonical, items))) == len(items), "items that all differ"


def _enum(limit: Any, schema: Mapping[str, Any]) -> Made:
    values, errors = cast(limit)
    if not is_array(values) or errors:
        raise ValueError(f"enum has to be a list of JSON values, got {limit!r:.40}")
    allowed = frozenset(map(canonical, values))
    options = [repr(v) if isinstance(v, str) else str(v) for v in values]
    phrase = options[0] if len(options) == 1 else f"one of {', '.join(options)}"
    return lambda value: canonical(value) in allowed, phrase


_KEYWORDS: dict[str, tuple[str, Callable[[Any, Mapping[str, Any]], Made]]] = {
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
