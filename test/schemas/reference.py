"""The verdict of the `jsonschema` package on a value: another implementation of the specification.

`Draft4Validator` does not support the additions and changes of OpenAPI 3.0.3, which are translated
first: `nullable`, the discriminator, the formats of numbers, ECMA-262's patterns. Numbers go to it
as int and Fraction, which compute exactly. Where the two differ on purpose is in `DIFFERENCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from string import hexdigits
from typing import Any

from jsonschema import Draft4Validator, FormatChecker  # type: ignore[import-untyped]

from .generated import PATTERNS

__all__ = ["DIFFERENCES", "Difference", "Reference"]

COMPONENTS = "#/components/schemas/"
CHECKER = FormatChecker()


@dataclass(frozen=True)
class Difference:
    """A class of texts whose `format` we and `jsonschema` judge differently, and the reason.

    text: one of them; valid: our verdict; concerns: finds all of them.
    """

    format: str
    text: str
    valid: bool
    concerns: Callable[[str], bool]
    reason: str


DIFFERENCES = (
    Difference(
        "date",
        "0000-02-29",
        True,
        lambda text: text.startswith("0000"),
        "RFC 3339 has the year 0000; Python's calendar, which jsonschema asks, has not",
    ),
    Difference(
        "date-time",
        "0000-01-01T00:00:00Z",
        True,
        lambda text: text.startswith("0000"),
        "RFC 3339 has the year 0000; Python's calendar, which jsonschema asks, has not",
    ),
    Difference(
        "date-time",
        "2016-12-31T23:59:60Z",
        True,
        lambda text: text[17:19] == "60",
        "RFC 3339, section 5.7, has leap seconds; jsonschema knows none",
    ),
    Difference(
        "date-time",
        "2016-12-31T23:59:59Z\n",
        False,
        lambda text: text.endswith("\n") or not text.isascii(),
        "RFC 3339 ends there, and has ASCII digits; jsonschema takes a line end and other digits",
    ),
    Difference(
        "uuid",
        "1_3e4567-e89b-12d3-a456-426614174000",
        False,
        lambda text: not set(text) <= {*hexdigits, "-"} or text.count("-") != 4,
        "RFC 4122, section 3: 32 hexadecimal digits and four hyphens; jsonschema has Python's int "
        "read the digits, which takes underscores, white space and the digits of other scripts",
    ),
    Difference(
        "email",
        "ada@@example.com",
        False,
        lambda text: "@" in text,
        "RFC 5321, section 4.1.2; jsonschema looks for an @ only",
    ),
    Difference(
        "hostname",
        "example.com.",
        False,
        lambda text: text.endswith((".", "\n")) or not text.isascii(),
        "RFC 1123, section 2.1: labels of ASCII letters, digits and hyphens, with dots between "
        "them; jsonschema takes a dot or a line end after the last, and digits of other scripts",
    ),
)
"""The texts on which our verdict on a format differs from that of `jsonschema`."""


class Reference:
    """The verdicts of `jsonschema` on the values of one schema."""

    def __init__(self, schema: dict[str, Any], components: dict[str, Any]) -> None:
        translator = _Translator(components)
        document = translator.schema(schema)
        document["components"] = {"schemas": translator.complete()}
        self._validator = Draft4Validator(document, format_checker=CHECKER)
        self._contested = [d for d in DIFFERENCES if d.format in translator.formats]

    def accepts(self, value: Any) -> bool:
        """Return whether a value is valid."""
        return bool(self._validator.is_valid(_exact(value)))

    def contests(self, value: Any) -> bool:
        """Return whether a value contains a text of `DIFFERENCES`."""
        return any(d.concerns(text) for d in self._contested for text in _texts(value))


def _exact(value: Any) -> Any:
    """A value with numbers that compute exactly; an int is what OpenAPI calls an integer."""
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    if isinstance(value, float):
        return Fraction(repr(value))
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else Fraction(value)
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _integer(bits: int) -> dict[str, Any]:
    within = {"type": "integer", "minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}
    return {"anyOf": [{"not": {"type": "number"}}, within]}


def _float(limit: int) -> dict[str, Any]:
    """A number that rounds to a float: IEEE 754 has infinity from half a unit above the largest."""
    return {
        **{"minimum": -limit, "exclusiveMinimum": True},
        **{"maximum": limit, "exclusiveMaximum": True},
    }


NUMERIC = {
    "int32": _integer(32),
    "int64": _integer(64),
    "float": _float(2**128 - 2**103),
    "double": _float(2**1024 - 2**970),
    "byte": {"pattern": r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z"},
}
"""The formats that OpenAPI 3.0.3 (Data Types) adds, in draft 4's words."""


class _Translator:
    """A translator from the Schema Objects of one document to draft 4.

    A parent schema with a discriminator refers to the child that a value names, and the child
    refers to its parent: in that reference, the parent stands for itself alone. So each component
    is translated once for each set of parents that are `alone`.
    """

    def __init__(self, components: dict[str, Any]) -> None:
        self.components = components
        self.formats: set[str] = set()
        self._wanted: dict[tuple[str, frozenset[str]], None] = {}

    def complete(self) -> dict[str, Any]:
        """The components that the translated schemas refer to."""
        made: dict[str, Any] = {}
        while len(made) < len(self._wanted):
            for name, alone in list(self._wanted)[len(made) :]:
                part = self.schema(self.components[name], alone, name)
                made[_variant(name, alone)] = part
        return made

    def reference(self, name: str, alone: frozenset[str]) -> dict[str, Any]:
        self._wanted[name, alone] = None
        return {"$ref": COMPONENTS + _variant(name, alone)}

    def schema(
        self, schema: dict[str, Any], alone: frozenset[str] = frozenset(), name: str = ""
    ) -> dict[str, Any]:
        if "$ref" in schema:
            return self.reference(schema["$ref"].removeprefix(COMPONENTS), alone)
        made = {key: item for key, item in schema.items() if key in _SAME}
        also: list[dict[str, Any]] = []
        for bound in ("minimum", "maximum", "multipleOf"):
            if bound in schema:
                made[bound] = _exact(schema[bound])
        for bound in ("minimum", "maximum"):
            if bound not in schema:
                made.pop(f"exclusive{bound.capitalize()}", None)
        if "enum" in schema:
            made["enum"] = _exact(schema["enum"])
        if schema.get("nullable") is True and "type" in schema:
            made["type"] = [schema["type"], "null"]
        if "pattern" in schema:
            made["pattern"] = PATTERNS[schema["pattern"]][0]
        if "format" in schema:
            self.formats.add(schema["format"])
            also.append(NUMERIC.get(schema["format"], {"format": schema["format"]}))
        if "items" in schema:
            made["items"] = self.schema(schema["items"])
        if "properties" in schema:
            made["properties"] = {k: self.schema(sub) for k, sub in schema["properties"].items()}
        additional = schema.get("additionalProperties", True)
        closed = isinstance(additional, bool)
        made["additionalProperties"] = additional if closed else self.schema(additional)
        if "not" in schema:
            made["not"] = self.schema(schema["not"], alone)
        told = "discriminator" in schema and ("oneOf" if "oneOf" in schema else "anyOf")
        for keyword in ("allOf", "anyOf", "oneOf"):
            if keyword in schema and keyword != told:
                made[keyword] = [self.schema(branch, alone) for branch in schema[keyword]]
        if told and told in schema:
            also.append(self.told(schema["discriminator"], schema[told], alone))
        elif told and name not in alone:
            also.append(self.descent(schema["discriminator"], alone | {name}))
        made["allOf"] = [*made.get("allOf", ()), *also, {}]
        return made

    def told(
        self, discriminator: dict[str, Any], branches: list[Any], alone: frozenset[str]
    ) -> dict[str, Any]:
        """The value names one of the branches, and fits it."""
        # An inline branch has no name, so that no value can name it (section Discriminator Object).
        refs = [branch["$ref"] for branch in branches if "$ref" in branch]
        names = [ref.removeprefix(COMPONENTS) for ref in refs]
        chosen = {name: name for name in names} | _mapping(discriminator)
        key = discriminator["propertyName"]
        cases = [
            {"allOf": [_tagged(key, tag), self.reference(name, alone)]}
            for tag, name in chosen.items()
        ]
        return {"type": "object", "anyOf": cases or [{"not": {}}]}

    def descent(self, discriminator: dict[str, Any], alone: frozenset[str]) -> dict[str, Any]:
        """If a value names a schema, it also fits that schema."""
        chosen = {name: name for name in self.components} | _mapping(discriminator)
        key = discriminator["propertyName"]
        named = {"type": "object", "required": [key], "properties": {key: {"type": "string"}}}
        cases = [
            {"allOf": [_tagged(key, tag), self.reference(name, alone)]}
            for tag, name in chosen.items()
        ]
        return {"anyOf": [{"not": named}, *cases]}


def _mapping(discriminator: dict[str, Any]) -> dict[str, str]:
    mapping: dict[str, str] = discriminator.get("mapping", {})
    return {tag: ref.removeprefix(COMPONENTS) for tag, ref in mapping.items()}


def _tagged(key: str, tag: str) -> dict[str, Any]:
    return {"required": [key], "properties": {key: {"enum": [tag]}}}


def _variant(name: str, alone: frozenset[str]) -> str:
    return "-".join([name, *sorted(alone)])


_SAME = {
    *("type", "required", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
}
