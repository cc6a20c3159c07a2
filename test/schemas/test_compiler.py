"""The fast path gives what the exact one gives: verdict, classes, values and their order.

Each class is asked several times: a shape is compiled when it comes again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from frozendict import frozendict
from hypothesis import given
from hypothesis import strategies as st

from humanloop import model
from humanloop.schemas import schema_from_openapi

from .generated import COMPONENTS, SCHEMAS, SETTINGS, VALUES, nearly
from .payloads import SCHEMAS as MODELS
from .payloads import full, minimal
from .support import outcome


def agree(cls: Any, value: Any) -> None:
    exact = outcome(cls.validate_exactly, value)
    for _ in range(3):
        assert outcome(cls, value) == exact


@SETTINGS
@given(st.data(), SCHEMAS, COMPONENTS, st.lists(VALUES, min_size=1, max_size=4))
def test_any_schema_and_any_value(
    data: st.DataObject, schema: dict[str, Any], components: dict[str, Any], values: list[Any]
) -> None:
    try:
        cls = schema_from_openapi(schema, components=components)
    except ValueError:
        return  # it contains itself
    for value in [*values, data.draw(nearly(schema, components))]:
        agree(cls, value)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("make", [minimal, full])
def test_every_model(name: str, make: Any) -> None:
    cls = getattr(model, name)
    for branch in (0, 1):
        agree(cls, make(MODELS[name], branch))


METRIC = {
    "type": "object",
    "required": ["at"],
    "properties": {
        "at": {"type": "string", "format": "date-time"},
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "on": {"type": "boolean"},
        "kind": {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "string"}]},
        "parts": {"type": "array", "items": {"$ref": "#"}},
    },
}


@pytest.mark.parametrize(
    "value",
    [
        {"at": "2024-02-29T00:00:00Z", "n": 1, "x": 0.0, "on": True},
        {"at": "2024-02-29T00:00:00Z", "x": -0.0},
        {"at": "2024-02-29T00:00:00Z", "x": 1, "n": True},
        {"at": "2024-02-29T00:00:00Z", "x": True},
        {"at": "2024-02-29T00:00:00Z", "x": Decimal("1.50"), "n": Decimal(3)},
        {"at": "2024-02-29T00:00:00Z", "x": float("nan")},
        {"at": "2024-02-29T24:00:00Z"},
        {"at": "2023-02-29T00:00:00Z"},
        {"at": "2023-W01-1T12:00:01Z"},
        {"at": "2024-02-29 00:00:00Z"},
        {"at": "2024-02-29t00:00:00.5+01:30"},
        {"at": "2016-12-31T23:59:60Z"},
        {"at": "2016-12-31T23:59:59.000000000001Z"},
        {"at": "2016-12-31T23:59:59.Z"},
        {"at": "2016-12-31T23:59:59.\u0661Z"},
        {"at": "2016-12-31T23:5\u0661:59Z"},
        {"at": "2016-13-31T23:59:59.5Z"},
        {"at": "2016-12-31T23:59:59.5ZZ"},
        {"at": "2016-W01-1T12:00:01.5Z"},
        {"at": "2024-02-29T00:00:00Z", "kind": "a", "other": {"b": [1, None, 2.5]}},
        {"other": 1, "at": "2024-02-29T00:00:00Z", "kind": "z"},
        {"at": "2024-02-29T00:00:00Z", "parts": [{"at": "2024-02-29T00:00:00Z", "n": 2}, {}]},
        {"at": "2024-02-29T00:00:00Z", 1: 2},
        frozendict({"at": "2024-02-29T00:00:00Z"}),
        type("Text", (str,), {})("text"),
    ],
)
def test_values_near_the_edges(value: Any) -> None:
    agree(schema_from_openapi(METRIC, name="Metric"), value)


def test_the_same_keys_in_another_order_keep_their_order() -> None:
    cls: Any = schema_from_openapi(METRIC)
    for value in 3 * [
        {"at": "2024-02-29T00:00:00Z", "n": 1},
        {"n": 1, "at": "2024-02-29T00:00:00Z"},
    ]:
        assert list(cls(value)) == list(value)
    agree(cls, {"n": 1, "at": "2024-02-29T00:00:00Z"})


def test_an_object_of_very_many_keys() -> None:
    agree(schema_from_openapi(METRIC), {f"key{index}": index for index in range(1000)})
    agree(schema_from_openapi({**METRIC, "required": []}), {f"k{i}": i for i in range(1000)})


def test_more_shapes_than_are_kept() -> None:
    cls: Any = schema_from_openapi({"type": "object", "properties": {"n": {"type": "integer"}}})
    for _ in range(2):
        for index in range(600):
            assert cls({"n": index, f"key{index}": True}) == {"n": index, f"key{index}": True}
