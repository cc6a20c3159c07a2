"""The fast path gives the matcher's results: verdict, classes, values and their order.

These tests run on the installed form of the converters: compiled to C, or interpreted if
`HUMANLOOP_PURE_PYTHON` is set. Each class is called more than once: its caches from the first
values must not change any result.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal, InvalidOperation, localcontext
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from frozendict import frozendict
from hypothesis import given
from hypothesis import strategies as st

from humanloop import model
from humanloop.schemas import (
    BoolClass,
    DateTimeSchema,
    NumberSchema,
    SchemaValidationError,
    StrSchema,
    schema_from_openapi,
    to_input,
)
from humanloop.schemas.codec import decode

from .generated import COMPONENTS, SCHEMAS, SETTINGS, VALUES, nearly
from .payloads import SCHEMAS as MODELS
from .payloads import full, minimal
from .support import anatomy, outcome


def agree(cls: Any, value: Any) -> None:
    exact = outcome(cls.interpret, value)
    for _ in range(2):
        assert outcome(cls, value) == exact
    try:
        text = json.dumps(value)
        decoded = decode(text)
    except (TypeError, ValueError, RecursionError):
        return  # JSON has no place for it
    assert outcome(cls.from_json, text) == outcome(cls.interpret, decoded)


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


class Shown(str):
    """A key or a text that shows itself as something else."""

    def __repr__(self) -> str:
        return "nobody.knows"


@pytest.mark.parametrize("key", [Shown("a"), Enum("Key", {"a": "a"}, type=str)("a")])
def test_keys_of_a_class_derived_from_str_become_plain_strings(key: Any) -> None:
    cls: Any = schema_from_openapi({"type": "object", "properties": {"a": {"type": "string"}}})
    for _ in range(3):
        made = cls({key: "x"})
        assert [type(own) for own in made] == [str]
    assert cls({"a": "x"}) == {"a": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T00:Z\0:00Z",
        "2024-01-01T00:00:Z\0Z",
        "2024-01-01T00:Z\0:00+01:00",
        "2024-01-01T00:00:00Z\0005:30Z",
        "2024-01-01T00:00:00.5\0Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567xZ",
    ],
)
def test_texts_that_look_much_like_date_times(text: str) -> None:
    at = {"type": "string", "format": "date-time"}
    cls: Any = schema_from_openapi({"type": "object", "properties": {"at": at}})
    for _ in range(3):
        with pytest.raises(SchemaValidationError):
            cls({"at": text})
    with pytest.raises(SchemaValidationError):
        schema_from_openapi(at)(text)


def test_what_is_in_doubt_at_each_level_is_looked_at_once() -> None:
    at = {"type": "string", "format": "date-time"}
    cls: Any = schema_from_openapi(
        {"type": "object", "properties": {"child": {"$ref": "#"}, "at": at}}
    )
    leap = "2016-12-31T23:59:60Z"
    value: dict[str, Any] = {"at": leap}
    for _ in range(60):
        value = {"child": value, "at": leap}
    for _ in range(3):
        assert cls(value) == value
        assert cls.from_json(json.dumps(value)) == value


def test_a_function_of_the_user_that_fails_is_called_a_few_times() -> None:
    calls: list[object] = []

    class Wrong:
        pass

    @to_input.register(Wrong)
    def wrong(value: object) -> object:
        calls.append(value)
        raise ValueError("no")

    cls: Any = schema_from_openapi(
        {"type": "object", "properties": {"child": {"$ref": "#"}, "x": {"type": "number"}}}
    )
    value: dict[str, Any] = {"x": Wrong()}
    for _ in range(30):
        value = {"child": value, "x": 1}
    for _ in range(3):
        with pytest.raises(ValueError, match=r"^no$"):
            cls(value)
    assert len(calls) <= 9


def test_arrays_in_arrays_a_hundred_deep() -> None:
    part: dict[str, Any] = {"type": "integer"}
    value: Any = 1
    for _ in range(100):
        part, value = {"type": "array", "items": part}, [value]
    agree(schema_from_openapi({"type": "object", "properties": {"a": part}}), {"a": value})


def test_a_subclass_with_a_constructor_of_its_own() -> None:
    class Metric(model.PositiveLabel):
        def __init__(self, value: Any) -> None:
            raise AssertionError("it is for calls alone")

    for _ in range(3):
        made: Any = Metric.from_json('{"type": "rating", "value": "good"}')
        assert type(made) is Metric
        assert made == {"type": "rating", "value": "good"}


def test_members_of_an_enum_of_python_in_a_schema() -> None:
    color = Enum("Color", {"RED": "red"}, type=str)
    agree(schema_from_openapi({"type": "string", "enum": [color.RED]}), "red")


def test_very_many_sets_of_keys() -> None:
    cls: Any = schema_from_openapi({"type": "object", "properties": {"n": {"type": "integer"}}})
    for _ in range(2):
        for index in range(600):
            assert cls({"n": index, f"key{index}": True}) == {"n": index, f"key{index}": True}


def test_each_part_that_is_unusual_beside_usual_ones() -> None:
    cls: Any = schema_from_openapi({"type": "object", "properties": {"m": METRIC, "s": {}}})
    at = "2024-02-29T00:00:00Z"
    usual = {"m": {"at": at, "n": 1, "x": 0.5, "on": True, "kind": "a"}, "s": "t"}
    for _ in range(4):
        cls(usual)
    others: dict[str, list[Any]] = {
        "at": [datetime(2024, 2, 29, tzinfo=timezone.utc), DateTimeSchema(at), "x", 1, None, b"x"],
        "n": [10**30, Decimal(2), Decimal("2.0"), 2.0, True, NumberSchema(2), "1", None],
        "x": [1, Decimal("0.10"), NumberSchema(2), float("inf"), Decimal("NaN"), False, "1"],
        "on": [False, BoolClass.TRUE, 1, 0, 1.0, None, "true"],
        "kind": ["b", "c", StrSchema("a"), StrSchema("c"), type("Text", (str,), {})("a"), 1],
    }
    for key, items in others.items():
        for item in items:
            agree(cls, {"m": {**usual["m"], key: item}, "s": [item, {"a": item}]})
    agree(cls, {"m": cls(usual)["m"], "s": cls(usual)})
    agree(cls, {"m": dict(reversed(usual["m"].items())), "s": 1})
    agree(cls, {"m": {"at": at, "n": 1, "x": 0.5, "on": True, "other": "a"}, "s": {}})
    agree(cls, {"m": {}, "s": None})
    agree(cls, {"m": [], "s": []})


@pytest.mark.parametrize("nullable", [False, True])
def test_parts_that_may_be_null(nullable: bool) -> None:
    parts = {
        "text": {"type": "string", "nullable": nullable},
        "object": {"type": "object", "properties": {"a": {}}, "nullable": nullable},
        "items": {"type": "array", "minItems": 1, "items": {"type": "string"}, "nullable": True},
    }
    cls: Any = schema_from_openapi({"type": "object", "properties": parts})
    for value in ({"text": "a", "object": {"a": 1}, "items": ["a"]}, dict.fromkeys(parts)):
        for _ in range(4):
            agree(cls, value)
            agree(cls, {**value, "object": {"a": "b"}})
            agree(cls, {**value, "text": None, "items": ["a", 1]})
            agree(cls, {**value, "object": None, "items": []})


def test_a_branch_is_told_by_its_tag_alone() -> None:
    """An object of another branch has the same keys, and is no instance of it."""
    cls: Any = schema_from_openapi(
        {
            "type": "object",
            "properties": {
                "of": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/A"},
                        {"$ref": "#/components/schemas/B"},
                    ],
                    "discriminator": {"propertyName": "type"},
                }
            },
        },
        components={
            name: {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"type": "string", "enum": [name]}, "n": {"type": kind}},
            }
            for name, kind in (("A", "integer"), ("B", "string"))
        },
    )
    for _ in range(4):
        for part in ({"type": "A", "n": 1}, {"type": "B", "n": "x"}):
            agree(cls, {"of": part})
            assert type(cls({"of": part})["of"]).__name__ == part["type"]
            agree(cls, {"of": {**part, "n": None}})
            agree(cls, {"of": {**part, "type": "C"}})


def test_bad_values_do_not_make_good_ones_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a shape was refused, what is valid keeps the fast path."""
    cls: Any = schema_from_openapi(METRIC)
    good = {"at": "2024-02-29T00:00:00Z", "n": 1}
    for _ in range(5):
        cls(good)
        for bad in ({"n": 1}, {**good, "n": "x"}, {**good, "parts": 1}, {}):
            with pytest.raises(SchemaValidationError):
                cls(bad)
    monkeypatch.setattr(type(cls), "interpret", None)
    monkeypatch.setattr("humanloop.schemas.instances.interpret", None)
    assert cls(good) == good


def test_what_is_kept_is_bounded_and_holds_no_users_strings() -> None:
    """Neither values, nor keys that no schema declares, after many different objects."""
    text = Path(__file__).with_name("kept.py").read_text()
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_an_enum_without_null_in_a_schema_that_recurs() -> None:
    """The parts of a class may be used before, during and after the compilation of the whole."""
    parts = {
        "A": {
            "properties": {
                "b": reference("B"),
                "e": {"type": "string", "nullable": True, "enum": ["a"]},
            }
        },
        "B": {"properties": {"a": reference("A")}},
    }
    parts = {name: {"type": "object", **part} for name, part in parts.items()}
    whole: Any = schema_from_openapi(
        {"type": "object", "properties": {"a": reference("A"), "b": reference("B")}},
        components=parts,
    )
    part = type(whole({"b": {"a": {}}})["b"])
    for value in ({"a": {}}, {"a": {"e": "a"}}, {"a": {"e": None}}, {"a": {"b": {"a": {"e": 1}}}}):
        agree(part, value)
        agree(whole, {"b": value, "a": value["a"]})


def test_a_discriminator_that_stands_alone() -> None:
    cls: Any = schema_from_openapi(
        {
            "type": "object",
            "properties": {"p": {"discriminator": {"propertyName": "t"}}, "c": reference("Cat")},
        },
        components={"Cat": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    )
    for part in ({"t": "Dog"}, {"t": "Cat", "n": "x"}, {"t": "Cat"}, {}, "Cat"):
        agree(cls, {"p": part})


def test_an_instance_is_looked_at_anew() -> None:
    """The matches of another schema are not reused."""
    foo = {"type": "object", "properties": {"a": {}}}
    also = {"type": "object", "properties": {"a": reference("Bar")}}
    cls: Any = schema_from_openapi(
        {
            "type": "object",
            "properties": {"foo": reference("Foo"), "x": {"allOf": [reference("Foo"), also]}},
        },
        components={"Foo": foo, "Bar": {"type": "object", "properties": {"z": {}}}},
    )
    made = cls({"x": {"a": {"z": 1}}})["x"]
    agree(type(made), made)
    agree(cls, {"foo": made})


class Name(str, Enum):
    A = "a"


class Like:
    """Equal to the string `a`, and none."""

    def __hash__(self) -> int:
        return hash("a")

    def __eq__(self, other: object) -> bool:
        return other == "a"


class Claiming:
    """A proxy: it claims the class of what it stands for."""

    def __init__(self, of: Any) -> None:
        self.of = of

    @property
    def __class__(self) -> Any:
        return type(self.of)


@pytest.mark.parametrize("key", [Name.A, Like(), type("Text", (str,), {})("a")])
def test_keys_that_only_equal_strings(key: Any) -> None:
    inner = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    cls: Any = schema_from_openapi({**inner, "properties": {"a": {"type": "string"}, "o": inner}})
    for _ in range(4):
        cls({"a": "t", "o": {"a": "t"}})
    agree(cls, {key: "t", "o": {"a": "t"}})
    agree(cls, {"a": "t", "o": {key: "t"}})
    for value in ({key: "t", "o": {"a": "t"}}, {"a": "t", "o": {key: "t"}}):
        if isinstance(key, str):
            made = cls(value)
            assert {type(k) for k in (*made, *made["o"])} == {str}


@pytest.mark.parametrize("of", ["t", 1, 0.5, True, None, {}, [], Decimal(1), b"x", datetime.now()])
def test_a_proxy_is_not_what_it_claims_to_be(of: Any) -> None:
    cls: Any = schema_from_openapi(
        {
            "type": "object",
            "properties": {"a": {}, "t": {"type": "string"}, "i": {"type": "integer"}},
        }
    )
    for key in ("a", "t", "i"):
        for _ in range(3):
            cls({"a": "t", "t": "t"})
        agree(cls, {"a": "t", "t": "t", key: Claiming(of)})
        with pytest.raises(SchemaValidationError, match="Claiming"):
            cls({"a": "t", "t": "t", key: Claiming(of)})


class Hostile:
    """A key that has the hash of another, and can't be compared with it."""

    def __hash__(self) -> int:
        return hash("a")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


def test_a_key_that_can_not_be_compared() -> None:
    cls: Any = schema_from_openapi({"type": "object", "required": ["a"], "properties": {"a": {}}})
    for _ in range(3):
        with pytest.raises(SchemaValidationError):
            cls({Hostile(): 1})


class Cat:
    """An object that equals a tag, and is used for another."""

    def __hash__(self) -> int:
        return hash("Cat")

    def __eq__(self, other: object) -> bool:
        return other == "Cat"


def test_a_tag_that_only_equals_a_string() -> None:
    to_input.register(Cat, lambda _: "Dog")
    names = ("Cat", "Dog")
    components = {name: {"type": "object", "required": ["kind"]} for name in names}
    branches = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    pet = {"oneOf": branches, "discriminator": {"propertyName": "kind"}}
    cls: Any = schema_from_openapi(
        {"type": "object", "properties": {"pet": pet}}, components=components
    )
    for kind in ("Cat", "Cat", Cat(), "Dog", 1):
        agree(cls, {"pet": {"kind": kind}})


def test_moments_that_can_not_be_written() -> None:
    early = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=1)))
    cls: Any = schema_from_openapi({"type": "string", "format": "date-time"})
    agree(cls, early)
    with pytest.raises(SchemaValidationError, match="RFC 3339 can't represent"):
        cls(early)


def test_numbers_of_json_do_not_depend_on_the_decimal_context() -> None:
    cls: Any = schema_from_openapi({"type": "object", "properties": {"n": {"type": "number"}}})
    for traps in ([], [InvalidOperation]):
        with localcontext(Context(traps=traps)):
            with pytest.raises(SchemaValidationError, match="exponent"):
                cls.from_json('{"n":1e9999999999999999999}')
            assert str(cls.from_json('{"n":-0,"z":%s}' % ("1" * 5000))["n"]) == "0"


# -- values of other classes, and values that change ----------------------------------------------


class Text(str):
    def __hash__(self) -> int:
        raise RuntimeError("not to be hashed")

    def __str__(self) -> str:
        return "something else"


class Dict(dict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key) if key != "n" else 7


class List(list[Any]):
    def __len__(self) -> int:
        return 0


class Integer(int):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    __hash__ = int.__hash__


class Real(float):
    def __repr__(self) -> str:
        return "nan"


class Number(Decimal):
    def is_finite(self) -> bool:
        return False


UNUSUAL = [
    Text("a"),
    Text("2024-02-29T00:00:00Z"),
    Dict(n=1),
    Dict(at="2024-02-29T00:00:00Z", n=1),
    List([1, "a"]),
    List([{"at": "2024-02-29T00:00:00Z"}]),
    Integer(5),
    Real(0.5),
    Number("1.50"),
    Number(3),
    type("Tuple", (tuple,), {})([1]),
    *(Decimal(text) for text in ("-0", "0E+3", "-0.0", "sNaN", "NaN", "-Infinity", "1E+2")),
    *(0.0, -0.0, float("-inf"), 2**63, -(2**63) - 1, 10**5000, 5e-324, True, BoolClass.FALSE),
]


@pytest.mark.parametrize("value", UNUSUAL, ids=lambda value: type(value).__name__)
def test_values_of_classes_that_behave_in_other_ways(value: Any) -> None:
    with_bounds = {
        "n": {"type": "number", "minimum": 0, "nullable": True},
        "i": {"type": "integer", "format": "int64"},
        "t": {"type": "string", "minLength": 1},
        "u": {"anyOf": [{"type": "string"}, {"type": "number"}, METRIC]},
        "m": METRIC,
        "free": {"type": "object"},
    }
    cls: Any = schema_from_openapi({"type": "object", "properties": with_bounds})
    agree(cls, value)
    for key in (*with_bounds, "other"):
        agree(cls, {key: value})
        agree(cls, {key: [value]})
        agree(cls, {key: {"n": value, "kind": value, "parts": [value]}})


def test_a_key_that_can_be_compared_no_longer() -> None:
    """Where a dict has gaps, its copy is made key by key, and keys of one hash are compared."""

    class Key:
        comparable = True

        def __hash__(self) -> int:
            return hash("kind")

        def __eq__(self, other: object) -> bool:
            if Key.comparable:
                return False
            raise RuntimeError("not to be compared")

    components = {"Cat": {"type": "object"}}
    told = {"oneOf": [reference("Cat")], "discriminator": {"propertyName": "kind"}}
    value: dict[Any, Any] = {"gap": 1, Key(): 1, "kind": "Cat"}
    del value["gap"]
    for schema in (told, {"type": "object"}, {}):
        cls: Any = schema_from_openapi(schema, components=components)
        Key.comparable = False
        try:
            with pytest.raises(SchemaValidationError, match="keys that are strings"):
                cls(value)
        finally:
            Key.comparable = True


class Change:
    """A value that changes its container as soon as it is read."""

    def __init__(self, change: Callable[[], object]) -> None:
        self.change = change


@to_input.register(Change)
def _look_at(value: Change) -> str:
    value.change()
    return "looked at"


def test_containers_that_change_while_they_are_read() -> None:
    """The result is a complete instance of earlier contents."""
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {},
            "n": {"type": "integer"},
            "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
            "of": {"type": "object", "additionalProperties": {"type": "number"}},
        },
    }
    cls: Any = schema_from_openapi(schema)
    numbers: list[Any]
    inner: dict[str, Any]

    def swap() -> None:
        value.pop("n", None)
        value["other"] = 1.5

    changes: list[Callable[[], object]] = [
        lambda: value.update({f"k{index}": b"bytes" for index in range(100)}),
        lambda: value.update(n="no integer"),
        lambda: value.clear(),
        swap,
        lambda: numbers.clear(),
        lambda: numbers.extend(["x"] * 100),
        lambda: numbers.extend(range(10)),
        lambda: inner.clear(),
        lambda: inner.update(x="no number"),
    ]
    for change in changes:
        for at in ("a", "last", "items", "of"):
            numbers, inner = [1, 2, 3], {"x": 1, "y": 2.5}
            value: dict[str, Any] = {"a": 1, "n": 1, "items": numbers, "of": inner}
            changing = Change(change)
            if at == "items":
                numbers.insert(1, changing)
            elif at == "of":
                inner["changing"] = changing
            else:
                value[at] = changing
            try:
                made = cls(value)
            except (SchemaValidationError, RuntimeError):
                continue  # or the dict changed its size while the matcher read it
            agree(cls, made)
            assert outcome(cls, made) == anatomy(made)


def test_threads_that_change_what_others_read() -> None:
    cls: Any = schema_from_openapi(METRIC)
    part = {"at": "2024-02-29T00:00:00Z", "n": 1}
    value: dict[str, Any] = {**part, "x": 0.5, "parts": [part] * 20, "other": [1] * 20}
    stop = threading.Event()

    def change() -> None:
        wrong: dict[str, Any] = {"n": "x", "x": b"x", "on": 1, "parts": [1], "other": {1: 2}}
        while not stop.is_set():
            for key, item in wrong.items():
                before = value.pop(key, None)
                value[key] = item
                value["parts"] = [part] * 5
                value[key] = before if before is not None else 1

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(2000):
            with suppress(SchemaValidationError, RuntimeError):
                made = cls(value)
                assert outcome(cls.interpret, made) == anatomy(made)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
