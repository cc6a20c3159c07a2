"""Any schema, any value: the verdict is that of `jsonschema`, and what else always holds.

`jsonschema`'s Draft4Validator stands for the specification, after what OpenAPI 3.0.3 adds is put
into its words: `nullable` becomes the type "null" beside the other. Values go to it as plain
Python, numbers with a fraction as Decimal, so that it computes exactly.
"""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, FormatChecker  # type: ignore[import-untyped]

from humanloop import schemas
from humanloop.schemas import AnyTypeSchema, SchemaValidationError

from .support import make

SETTINGS = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

KEYS = st.sampled_from(["a", "b", "c", "type"])
TEXTS = st.sampled_from(["", "a", "ab", "abc", "b1", "💩", "2024-02-29", "2023-02-29", "1"])
NUMBERS = st.one_of(
    st.integers(-5, 12),
    st.sampled_from([Decimal(text) for text in ("0.5", "1.0", "-1.5", "2.00", "1E+2", "0.1")]),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)

COUNTS = st.integers(0, 3)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean"])


def _optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


BOUNDS: list[st.SearchStrategy[dict[str, Any]]] = [
    st.just({}),
    st.fixed_dictionaries({"minimum": NUMBERS}, optional={"exclusiveMinimum": st.booleans()}),
    st.fixed_dictionaries({"maximum": NUMBERS}, optional={"exclusiveMaximum": st.booleans()}),
    st.builds(lambda n: {"multipleOf": n}, st.sampled_from([1, 2, 3, Decimal("0.5")])),
    _optional(minLength=COUNTS, maxLength=COUNTS),
    st.builds(lambda p: {"pattern": p}, st.sampled_from(["^a", "b$", "[0-9]", "^(a|b)+$"])),
    st.just({"type": "string", "format": "date"}),
    _optional(minItems=COUNTS, maxItems=COUNTS, uniqueItems=st.booleans()),
    _optional(minProperties=COUNTS, maxProperties=COUNTS),
    st.builds(lambda v: {"enum": v}, st.lists(VALUES, min_size=1, max_size=3)),
    st.builds(lambda k: {"required": sorted(k)}, st.sets(KEYS, min_size=1, max_size=2)),
    st.builds(lambda t: {"type": t}, TYPES),
    st.builds(lambda t: {"type": t, "nullable": True}, TYPES),
    st.builds(lambda n: {"$ref": f"#/components/schemas/{n}"}, st.sampled_from(["A", "B", "R"])),
]


def _composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    branches = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        _optional(
            properties=st.dictionaries(KEYS, inner, max_size=2),
            additionalProperties=st.one_of(st.booleans(), inner),
        ),
        st.builds(lambda s: {"type": "array", "items": s}, inner),
        st.builds(lambda k, b: {k: b}, st.sampled_from(["allOf", "anyOf", "oneOf"]), branches),
        st.builds(lambda s: {"not": s}, inner),
        st.builds(lambda a, b: {**a, **b}, inner, inner),
    )


SCHEMAS = st.recursive(st.one_of(BOUNDS), _composed, max_leaves=6)
RECURSIVE = {
    "type": "object",
    "nullable": True,
    "required": ["a"],
    "properties": {
        "a": {"type": "number"},
        "b": {"$ref": "#/components/schemas/R"},
        "c": {"type": "array", "items": {"$ref": "#/components/schemas/R"}},
    },
}
COMPONENTS = st.fixed_dictionaries(
    {
        "A": st.one_of(BOUNDS[:-1]),
        "B": st.sampled_from([{"$ref": "#/components/schemas/A"}, {"type": "string"}]),
        "R": st.just(RECURSIVE),
    }
)


def draft4(schema: Any) -> Any:
    """`schema` in the words of draft 4."""
    if isinstance(schema, list):
        return [draft4(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: item if key == "enum" else draft4(item) for key, item in schema.items()}
    for bound in ("minimum", "maximum"):
        if bound not in made:
            made.pop(f"exclusive{bound.capitalize()}", None)
    if schema.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    made.pop("nullable", None)
    return made


def wanted(schema: dict[str, Any], components: dict[str, Any], value: Any) -> bool:
    document = {**draft4(schema), "components": {"schemas": draft4(components)}}
    return bool(Draft4Validator(document, format_checker=FormatChecker()).is_valid(value))


def errors_of(cls: Any, value: Any) -> tuple[Any, ...]:
    try:
        cls(value)
    except SchemaValidationError as error:
        return error.errors or ("refused without a reason",)
    return ()


@SETTINGS
@given(SCHEMAS, COMPONENTS, st.lists(VALUES, min_size=1, max_size=6))
def test_the_verdict_is_that_of_jsonschema(
    schema: dict[str, Any], components: dict[str, Any], values: list[Any]
) -> None:
    """Twice over the values: the second time the class knows their shapes."""
    cls = make(schema, **components)
    before = copy.deepcopy(values)
    for value in values * 3:
        found = errors_of(cls, value)
        assert (not found) is wanted(schema, components, value), (value, found)
    assert values == before, "an input was changed"


@st.composite
def fitting(draw: st.DrawFn, schema: dict[str, Any], components: dict[str, Any]) -> Any:
    """A value that `schema` may well take: its keys, its bounds, its options."""
    if "$ref" in schema:
        return draw(fitting(components[schema["$ref"].rpartition("/")[2]], components))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            return draw(fitting(draw(st.sampled_from(schema[keyword])), components))
    kind = schema.get("type")
    if kind == "array":
        item = schema.get("items", {})
        return [draw(fitting(item, components)) for _ in range(draw(st.integers(0, 2)))]
    properties = schema.get("properties", {})
    if kind == "object" or properties or "required" in schema:
        keys = {
            *schema.get("required", ()),
            *draw(st.sets(st.sampled_from(list(properties or "a")))),
        }
        deeper = {key: properties.get(key, {}) for key in sorted(keys)}
        cut = draw(st.integers(0, 2)) == 0
        return {k: draw(LEAVES if cut else fitting(s, components)) for k, s in deeper.items()}
    by_kind: dict[Any, Any] = {
        "string": TEXTS,
        "number": NUMBERS,
        "integer": st.integers(-5, 12),
        "boolean": st.booleans(),
    }
    return draw(by_kind.get(kind, LEAVES))


@SETTINGS
@given(st.data(), SCHEMAS, COMPONENTS)
def test_the_verdict_on_nearly_valid_values(
    data: st.DataObject, schema: dict[str, Any], components: dict[str, Any]
) -> None:
    cls = make(schema, **components)
    for _ in range(3):
        value = data.draw(fitting(schema, components))
        for _ in range(3):
            found = errors_of(cls, value)
            assert (not found) is wanted(schema, components, value), (value, found)


def test_the_reference_is_strict_enough() -> None:
    """What the comparison relies on: integers have no fraction, true is not 1."""
    assert not wanted({"type": "integer"}, {}, Decimal("1.0"))
    assert wanted({"type": "integer"}, {}, 1)
    assert not wanted({"enum": [1]}, {}, True)
    assert wanted({"type": "string", "nullable": True}, {}, None)
    assert not wanted({"type": "string", "format": "date"}, {}, "2023-02-29")


ANY_NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False),
)
ANY_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), ANY_NUMBERS, st.text(st.characters(), max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.dictionaries(st.text(st.characters(), max_size=4), inner, max_size=4),
    ),
    max_leaves=10,
)


@SETTINGS
@given(ANY_VALUES)
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
@given(ANY_VALUES)
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


@SETTINGS
@given(SCHEMAS, COMPONENTS, VALUES)
def test_no_input_is_aliased(schema: Any, components: Any, value: Any) -> None:
    cls = make(schema, **components)
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
@given(SCHEMAS, COMPONENTS, VALUES)
def test_errors_are_the_same_each_time_and_point_into_the_value(
    schema: Any, components: Any, value: Any
) -> None:
    cls = make(schema, **components)
    found = errors_of(cls, value)
    assert errors_of(cls, value) == found == errors_of(make(schema, **components), value)
    assert len(set(found)) == len(found), "an error is told twice"
    for error in found:
        part = value
        for step in error.path if error.keyword != "required" else error.path[:-1]:
            part = part[step]


@pytest.mark.parametrize("name", ["LogResponse", "ExperimentResponse", "ChatRequest", "Feedback"])
@settings(SETTINGS, max_examples=60)
@given(value=ANY_VALUES)
def test_models_give_an_instance_or_a_clear_error(name: str, value: Any) -> None:
    from humanloop import model

    try:
        getattr(model, name)(value)
    except SchemaValidationError as error:
        str(error).encode()
