"""Any schema, any value: the verdict is that of `jsonschema`, and other properties hold.

Each class is called more than once: its caches from the first values must not change any result.
"""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from humanloop import schemas
from humanloop.schemas import AnyTypeSchema, SchemaValidationError

from .generated import (
    COMPONENTS,
    FORMATS,
    PATTERNS,
    SCHEMAS,
    SETTINGS,
    VALUES,
    any_value,
    fitting,
    nearly,
    nearly_text,
)
from .reference import DIFFERENCES, Difference, Reference
from .support import make, outcome

FEWER = settings(SETTINGS, max_examples=SETTINGS.max_examples // 4)
"""For what is tried on many things, or needs few examples to be found wrong."""


def errors_of(cls: Any, value: Any) -> tuple[Any, ...]:
    try:
        cls(value)
    except SchemaValidationError as error:
        return error.errors or ("refused without a reason",)
    return ()


@SETTINGS
@given(st.data(), SCHEMAS, COMPONENTS)
def test_the_verdict_is_that_of_jsonschema(
    data: st.DataObject, schema: dict[str, Any], components: dict[str, Any]
) -> None:
    cls, reference = make(schema, **components), Reference(schema, components)
    kinds = (fitting(schema, components), nearly(schema, components), VALUES)
    values = [data.draw(kind) for kind in kinds for _ in range(3)]
    before = copy.deepcopy(values)
    for value in values * 3:
        if reference.contests(value):
            continue
        found = errors_of(cls, value)
        event("valid" if not found else "invalid")
        assert (not found) is reference.accepts(value), (value, found)
    assert values == before, "an input was changed"


@pytest.mark.parametrize("name", FORMATS)
@FEWER
@given(data=st.data())
def test_the_verdict_on_texts_of_a_format(name: str, data: st.DataObject) -> None:
    schema = {"format": name}
    text = data.draw(nearly_text(FORMATS[name]))
    assume(not Reference(schema, {}).contests(text))
    assert (not errors_of(make(schema), text)) is Reference(schema, {}).accepts(text)


@pytest.mark.parametrize("pattern", PATTERNS)
@FEWER
@given(data=st.data())
def test_the_verdict_on_texts_of_a_pattern(pattern: str, data: st.DataObject) -> None:
    schema = {"pattern": pattern}
    text = data.draw(nearly_text(PATTERNS[pattern][1]))
    assert (not errors_of(make(schema), text)) is Reference(schema, {}).accepts(text)


@pytest.mark.parametrize("known", DIFFERENCES, ids=lambda known: f"{known.format} {known.text!r}")
def test_where_the_verdict_differs_on_purpose(known: Difference) -> None:
    schema = {"format": known.format}
    assert known.concerns(known.text)
    assert (not errors_of(make(schema), known.text)) is known.valid
    assert Reference(schema, {}).accepts(known.text) is not known.valid


def test_the_reference_is_strict_enough() -> None:
    """What the comparison relies on: integers have no fraction, true is not 1, formats count."""

    def accepts(schema: dict[str, Any], value: Any) -> bool:
        return Reference(schema, {}).accepts(value)

    assert not accepts({"type": "integer"}, Decimal("1.0"))
    assert not accepts({"type": "integer"}, 1.0)
    assert accepts({"type": "integer"}, Decimal(1))
    assert accepts({"multipleOf": 0.1}, 0.3)
    assert not accepts({"enum": [1]}, True)
    assert accepts({"type": "string", "nullable": True}, None)
    for name, text in {
        "date": "2023-02-29",
        "date-time": "2023-02-29T00:00:00Z",
        "email": "ada",
        "hostname": "-a",
        "ipv4": "1.2.3",
        "ipv6": "1",
        "uri": "//a",
        "uuid": "1",
    }.items():
        assert not accepts({"format": name}, text)


@SETTINGS
@given(any_value)
def test_json_goes_both_ways(value: Any) -> None:
    made: Any = AnyTypeSchema(value)
    text = schemas.to_json(made)
    again: Any = AnyTypeSchema.from_json(text)
    assert again == made
    assert schemas.to_json(again) == text
    assert AnyTypeSchema.from_json(text.encode()) == made
    assert schemas.to_json(value) == text
    assert schemas.to_primitive(made) == schemas.to_primitive(value)
    assert AnyTypeSchema(schemas.to_primitive(made, numbers="decimal")) == made
    json.loads(text)


@SETTINGS
@given(st.data(), SCHEMAS, COMPONENTS)
def test_json_text_means_what_the_value_means(
    data: st.DataObject, schema: dict[str, Any], components: dict[str, Any]
) -> None:
    """RFC 8259: also what other programs write. Two surrogates are one character there."""
    cls = make(schema, **components)
    value = data.draw(nearly(schema, components) | VALUES)
    assume("\\ud83d\\udca9" not in ascii(value))
    assert outcome(cls.from_json, schemas.to_json(value)) == outcome(cls, value)
    try:
        text = json.dumps(value)
    except TypeError:
        return  # a Decimal, for which `json` has no text
    assert outcome(cls.from_json, text) == outcome(cls, value)


@FEWER
@given(any_value)
def test_instances_equal_hash_and_copy_as_plain_objects_do(value: Any) -> None:
    made: Any = AnyTypeSchema(value)
    again: Any = AnyTypeSchema(copy.deepcopy(value))
    assert made == again
    assert hash(made) == hash(again)
    assert AnyTypeSchema(made) == made
    assert copy.deepcopy(made) == made


def _containers(value: Any) -> set[int]:
    if isinstance(value, dict):
        return {id(value)}.union(*map(_containers, value.values()))
    if isinstance(value, list):
        return {id(value)}.union(*map(_containers, value))
    return set()


@FEWER
@given(st.data(), SCHEMAS, COMPONENTS)
def test_no_input_is_aliased(data: st.DataObject, schema: Any, components: Any) -> None:
    cls = make(schema, **components)
    value = data.draw(fitting(schema, components))
    assume(not errors_of(cls, value))
    made = cls(value)
    stack = [made]
    given_ids = _containers(value)
    while stack:
        part = stack.pop()
        assert id(part) not in given_ids
        assert not isinstance(part, list)
        if hasattr(part, "items"):
            stack.extend(part.values())
        elif isinstance(part, tuple):
            stack.extend(part)


@SETTINGS
@given(st.data(), SCHEMAS, COMPONENTS)
def test_errors_are_the_same_each_time_and_point_into_the_value(
    data: st.DataObject, schema: Any, components: Any
) -> None:
    cls = make(schema, **components)
    value = data.draw(nearly(schema, components) | VALUES)
    found = errors_of(cls, value)
    assert errors_of(cls, value) == found == errors_of(make(schema, **components), value)
    assert len(set(found)) == len(found), "an error is told twice"
    for error in found:
        part = value
        for step in error.path if error.keyword != "required" else error.path[:-1]:
            part = part[step]


@pytest.mark.parametrize("name", ["LogResponse", "ExperimentResponse", "ChatRequest", "Feedback"])
@settings(SETTINGS, max_examples=50)
@given(value=any_value)
def test_models_give_an_instance_or_a_clear_error(name: str, value: Any) -> None:
    from humanloop import model

    try:
        getattr(model, name)(value)
    except SchemaValidationError as error:
        str(error).encode()
