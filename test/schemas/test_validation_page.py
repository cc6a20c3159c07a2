"""docs/validation.md lists the checks keyword by keyword; these tests compare it with the code.

Below each of its tables stand examples: a `schema`, `valid` and `invalid` values, and where it
matters the `components` that the schema refers to and the `direction` that the values go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from humanloop.schemas import FORMATS, SchemaValidationError, loads, to_json

from .support import deadline, make

PAGE = Path(__file__).resolve().parents[2] / "docs" / "validation.md"
SECTION = re.compile(
    r"^### (?P<title>[^\n]+)\n(?P<text>(?:(?!^#).)*?)^```json\n(?P<lines>.*?)^```$", re.M | re.S
)
EXAMPLE = re.compile(r"^\{.*\n(?: .*\n)*", re.M)
KEYWORDS = """
    title multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern
    maxItems minItems uniqueItems maxProperties minProperties required enum type allOf oneOf anyOf
    not items properties additionalProperties description default nullable discriminator readOnly
    writeOnly xml externalDocs example deprecated $ref x-...
"""
"""The keywords of OpenAPI 3.0.3: Schema Object, Reference Object, Specification Extensions.

`format` has a table of its own.
"""


class Section(NamedTuple):
    """A section of the page: its title, what stands above its examples, and these."""

    title: str
    text: str
    examples: list[Any]

    @property
    def rows(self) -> list[str]:
        """The keywords in the first cells of its table."""
        cells = re.findall(r"^\| ([^|]+) \|", self.text, re.M)
        return [name for cell in cells[1:] for name in re.findall(r"`([^`]+)`", cell)]


SECTIONS = [
    Section(found["title"], found["text"], [*map(loads, EXAMPLE.findall(found["lines"]))])
    for found in SECTION.finditer(PAGE.read_text(encoding="utf-8"))
]
EXAMPLES = {
    f"{section.title}-{number}": example
    for section in SECTIONS
    for number, example in enumerate(section.examples, 1)
}


def words_in(schema: Any) -> Iterator[str]:
    """The keys of a schema and of all within it, and the formats that it names."""
    if isinstance(schema, dict):
        yield from ("x-..." if key.startswith("x-") else key for key in schema)
        yield str(schema.get("format"))
    for part in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(part, dict | list):
            yield from words_in(part)


def fits(cls: Any, value: Any, direction: Any) -> bool:
    """Return whether a value fits, which must not depend on repetition or on its form."""
    verdicts = set()
    for take, given in [(cls.validate, value), (cls.from_json, to_json(value))] * 2:
        try:
            with deadline():
                take(given, direction=direction)
            verdicts.add(True)
        except SchemaValidationError:
            verdicts.add(False)
    [verdict] = verdicts
    return verdict


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_is_true(example: dict[str, Any]) -> None:
    cls = make(example["schema"], **example.get("components", {}))
    direction = example.get("direction")
    assert [value for value in example["valid"] if not fits(cls, value, direction)] == []
    assert [value for value in example["invalid"] if fits(cls, value, direction)] == []


def test_every_keyword_and_format_has_its_row() -> None:
    rows = [row for section in SECTIONS for row in section.rows]
    assert set(KEYWORDS.split()) - set(rows) == set()
    assert set(FORMATS) - set(rows) == set()
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("section", SECTIONS, ids=[section.title for section in SECTIONS])
def test_every_row_has_its_example(section: Section) -> None:
    shown = {word for example in section.examples for word in words_in(example["schema"])}
    assert section.rows
    assert set(section.rows) - shown == set()
