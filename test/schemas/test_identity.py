"""The identity of an instance: its classes, equality, immutability, and copies elsewhere.

The rules: an instance belongs to every named schema that it matched; it compares, hashes and orders
as the plain value does; nothing can change it, neither its own methods nor the values from which it
was made.
"""

from __future__ import annotations

import copy
import json
import multiprocessing
import operator
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from frozendict import frozendict

from humanloop.model import ChatRole, ConfigResponse, Feedback, LogResponse, ModelConfigResponse
from humanloop.schemas import (
    AnyTypeSchema,
    BoolClass,
    BoolSchema,
    DictSchema,
    ListSchema,
    NoneClass,
    NoneSchema,
    NumberSchema,
    StrSchema,
    schema_from_openapi,
)

from .support import make

DEPTH = 3000
"""Deeper than Python's stack, and than C's recursion limit in 3.12 and later."""


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


LOG: dict[str, Any] = {
    "id": "data_1",
    "config": {"id": "config_1", "type": "model", "model": "gpt-4", "temperature": 0.5},
    "messages": [{"role": "user", "content": "hi", "name": None}],
    "feedback": [{"type": "rating", "value": "good"}, {"type": "mine", "value": 1}],
    "inputs": {"a": [1, {"b": True}]},
}

# -- its classes ----------------------------------------------------------------------------------

SAMPLES: dict[str, tuple[dict[str, Any], Any, type]] = {
    "object": ({"type": "object"}, {"a": 1}, DictSchema),
    "array": ({"type": "array", "items": {}}, [1], tuple),
    "string": ({"type": "string"}, "a", str),
    "number": ({"type": "number"}, 1.5, Decimal),
    "boolean": ({"type": "boolean"}, True, BoolClass),
    "null": ({"type": "object", "nullable": True}, None, NoneClass),
}


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
@pytest.mark.parametrize("deep", [False, True])
def test_an_instance_is_of_every_class_that_it_matched(kind: str, keyword: str, deep: bool) -> None:
    """OpenAPI 3.0.3, Composition: the value fits each of the schemas, so it is one of each."""
    schema, value, base = SAMPLES[kind]
    other = {"anyOf": [ref("One")]} if keyword != "oneOf" else {"enum": ["something else"]}
    components = {
        "One": schema,
        "Two": other,
        "Whole": {keyword: [ref("One"), ref("Two")]},
        "Alias": ref("Whole"),
    }
    inner: dict[str, Any] = {"properties": {"x": {"items": ref("Alias")}}}
    made = make(inner if deep else ref("Alias"), **components)({"x": [value]} if deep else value)
    made = made["x"][0] if deep else made
    assert isinstance(made, base)
    names = {cls.__name__ for cls in type(made).__mro__}
    assert {"One", "Whole", "Alias"} <= names
    assert ("Two" in names) is (keyword != "oneOf")
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert again == made == type(made)(value)
        assert {cls.__name__ for cls in type(again).__mro__} == names


def test_only_what_matched() -> None:
    made: Any = LogResponse(LOG)
    assert isinstance(made.config, ConfigResponse)
    assert isinstance(made.config, ModelConfigResponse)
    assert not isinstance(made.config, Feedback)
    assert isinstance(made.feedback[0], Feedback)
    assert isinstance(made.messages[0].role, ChatRole)
    assert isinstance(made.messages[0]["name"], NoneClass)


def test_the_class_of_several_schemas_is_one() -> None:
    cls = make({"items": {"anyOf": [ref("A"), ref("B")]}}, A={"type": "array"}, B={"maxItems": 3})
    made = cls([[1], [2], [1, 2, 3, 4]])
    assert type(made[0]) is type(made[1]) is not type(made[2])


# -- what it equals -------------------------------------------------------------------------------


def test_equality_with_plain_values_at_every_depth() -> None:
    made: Any = LogResponse(LOG)
    plain = {
        "id": "data_1",
        "config": frozendict(LOG["config"], temperature=Decimal("0.5")),
        "messages": ({"role": "user", "content": "hi", "name": None},),
        "feedback": ({"type": "rating", "value": "good"}, {"type": "mine", "value": 1}),
        "inputs": {"a": (1, {"b": True})},
    }
    assert made == plain
    assert plain == made
    assert not made != plain  # noqa: SIM202
    assert made == frozendict(plain)
    assert frozendict(plain) == made
    for other in ({**plain, "id": "y"}, {**plain, "more": 1}, {**plain, "inputs": {"a": (1, {})}}):
        assert made != other
        assert other != made
        assert not made == other  # noqa: SIM201
    assert made["inputs"]["a"] != [1, {"b": True}], "an array is a tuple, and a tuple is no list"


@pytest.mark.parametrize("other", [None, 1, "a", (), [], object(), {1: 2}])
def test_what_it_does_not_equal(other: object) -> None:
    made = DictSchema(a=1)
    assert made != other
    assert not made == other  # noqa: SIM201
    assert made.__eq__(5) is NotImplemented
    assert made.__ne__(5) is NotImplemented


def test_sets_and_keys_mix_with_plain_values() -> None:
    made = [StrSchema("a"), NumberSchema(1), NoneSchema(None), ListSchema(["a"]), DictSchema(a="b")]
    plain = ["a", 1, None, ("a",), frozendict(a="b")]
    assert set(made) == set(plain)
    assert set(made) | set(plain) == set(plain)
    assert dict.fromkeys(made, 1) == dict.fromkeys(plain, 1)
    assert BoolSchema(False) in {False}
    assert False in {BoolSchema(False)}
    assert len({DictSchema(a=[1, {}]), DictSchema(a=[1, {}]), DictSchema(a=[2, {}])}) == 2


def test_hash_needs_values_that_hash() -> None:
    with open(__file__, "rb") as file:
        assert isinstance(hash(DictSchema(a=file)), int)
    assert hash(DictSchema(a=1, b=2)) == hash(DictSchema(b=2, a=1))


# -- booleans and null ----------------------------------------------------------------------------

TRUE, FALSE = make({"type": "boolean"})(True), DictSchema(a=False)["a"]


def test_booleans_order_as_bools_do() -> None:
    values = [TRUE, False, FALSE, True, TRUE, FALSE]
    random.Random(1).shuffle(values)
    assert sorted(values) == [False, False, False, True, True, True]
    assert max(FALSE, TRUE) is TRUE
    assert sorted([{"on": TRUE}, {"on": FALSE}], key=lambda item: item["on"])[0]["on"] is FALSE


OPERATORS: list[Callable[[Any, Any], Any]] = [
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    operator.eq,
    operator.ne,
    operator.and_,
    operator.or_,
    operator.xor,
    operator.add,
]


@pytest.mark.parametrize("compute", OPERATORS)
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("right", [True, False, 0, 2, Decimal("0.5")])
def test_operators_give_what_bools_give(compute: Any, left: bool, right: Any) -> None:
    made = BoolSchema(left)
    pairs: list[tuple[Any, Any]] = [(made, right), (right, made)]
    if isinstance(right, bool):
        pairs += [(made, BoolClass.of(right)), (BoolClass.of(right), made)]
    for a, b in pairs:
        plain = [bool(x) if isinstance(x, BoolClass) else x for x in (a, b)]
        try:
            wanted = compute(*plain)
        except TypeError:
            with pytest.raises(TypeError):
                compute(a, b)
        else:
            assert compute(a, b) == wanted
            assert type(compute(a, b)) is type(wanted)


def test_booleans_count_and_index() -> None:
    assert sum([TRUE, FALSE, TRUE]) == 2
    assert (int(TRUE), float(FALSE), operator.index(TRUE)) == (1, 0.0, 1)
    assert ["no", "yes"][TRUE] == "yes"
    assert f"{TRUE} {FALSE!r}" == "True False"
    assert not isinstance(TRUE, int)
    for spec in ("", "d", ">6", "<2d", "05", ".1f"):
        assert (format(TRUE, spec), format(FALSE, spec)) == (
            format(True, spec),
            format(False, spec),
        )
    with pytest.raises(ValueError, match="'s'"):
        format(TRUE, "s")
    for wrong in (lambda: TRUE * 2, lambda: TRUE < "a", lambda: -TRUE):
        with pytest.raises(TypeError):
            wrong()


def test_match_statements() -> None:
    """`case True` asks for identity (PEP 634); `BoolClass.TRUE` is a value pattern, by `==`."""

    def kind(value: Any) -> str:
        match value:
            case True | False | None:
                return "plain"
            case {"on": BoolClass.TRUE, **rest}:
                return f"on, and {len(rest)} more"
            case {"on": BoolClass.FALSE}:
                return "off"
            case {"on": BoolClass() | NoneClass()}:
                return "null"
            case {"items": [NumberSchema() as first, *_], "name": str(name)}:
                return f"{name} from {first}"
            case BoolClass.TRUE:
                return "true"
            case NoneClass.NONE:
                return "null"
            case Decimal():
                return "number"
        return "other"

    assert kind(DictSchema(on=True, x=1)) == kind({"on": True, "x": 1}) == "on, and 1 more"
    assert kind(DictSchema(on=False)) == "off"
    assert kind(DictSchema(on=None)) == "null"
    assert kind(DictSchema(items=[3, 4], name="n")) == "n from 3"
    assert kind(TRUE) == "true"
    assert kind(FALSE) == "other"
    assert kind(NoneSchema(None)) == "null"
    assert kind(NumberSchema(2)) == "number"
    assert kind(True) == "plain"


# -- it never changes -----------------------------------------------------------------------------

CHANGES: dict[str, Callable[[Any], Any]] = {
    "item": lambda x: operator.setitem(x, "a", 2),
    "del item": lambda x: operator.delitem(x, "a"),
    "attribute": lambda x: setattr(x, "a", 2),
    "new attribute": lambda x: setattr(x, "new", 2),
    "del attribute": lambda x: delattr(x, "a"),
    "update": lambda x: x.update(a=2),
    "pop": lambda x: x.pop("a"),
    "popitem": lambda x: x.popitem(),
    "clear": lambda x: x.clear(),
    "__setstate__": lambda x: x.__setstate__({"a": 2}),
    "__dict__": lambda x: x.__dict__.update(a=2),
    "__class__": lambda x: setattr(x, "__class__", DictSchema),
    "object.__setattr__": lambda x: object.__setattr__(x, "a", 2),
    "object.__delattr__": lambda x: object.__delattr__(x, "a"),
    "object's __class__": lambda x: object.__setattr__(x, "__class__", DictSchema),
    "_hash": lambda x: object.__setattr__(x, "_hash", 5),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_would_change_it_is_refused(name: str) -> None:
    made = make({"type": "object", "properties": {"a": {"type": "integer"}}})({"a": 1})
    kind, before = type(made), hash(made)
    with pytest.raises((TypeError, AttributeError)):
        CHANGES[name](made)
    assert made == {"a": 1}
    assert type(made) is kind is made.__class__
    assert hash(made) == before


@pytest.mark.parametrize(
    "again",
    [
        lambda x: x.__init__({"a": 2}),
        lambda x: x.__init__(a=2),
        lambda x: operator.ior(x, {"a": 2}),
        lambda x: operator.iadd(tuple(x.items()), (2,)),
        lambda x: x.setdefault("b", 2),
        lambda x: x.set("a", 2),
        lambda x: x.delete("a"),
        lambda x: x.copy(),
        lambda x: x.get_item("a"),
    ],
)
def test_what_only_looks_as_if_it_changed_something(again: Callable[[Any], Any]) -> None:
    made: Any = DictSchema(a=1)
    with suppress(TypeError):
        again(made)
    assert made == {"a": 1}


def test_a_union_in_place_is_a_plain_frozendict() -> None:
    """It is not validated, so it is no instance of the schema."""
    first: Any = make({"type": "object", "maxProperties": 1})({"a": 1})
    second = first
    second |= {"b": 2}
    assert first == {"a": 1}
    assert second == {"a": 1, "b": 2}
    assert type(second) is type(first | {"b": 2}) is type({"b": 2} | first) is frozendict


@pytest.mark.parametrize(
    ("made", "other"),
    [
        (ListSchema([1]), tuple),
        (StrSchema("a"), make({"type": "string"})),
        (NumberSchema(1), make({"type": "number"})),
        (BoolSchema(True), BoolClass),
        (NoneSchema(None), NoneClass),
        (BoolClass.TRUE, BoolSchema),
        (NoneClass.NONE, NoneSchema),
    ],
)
def test_no_instance_changes_its_class_or_takes_attributes(made: Any, other: type) -> None:
    kind = type(made)
    for change in (setattr, object.__setattr__):
        for name, value in (("__class__", other), ("_value", False), ("new", 1)):
            with pytest.raises((AttributeError, TypeError)):
                change(made, name, value)
    assert type(made) is kind
    assert BoolClass.TRUE == True  # noqa: E712
    assert BoolSchema(True).is_true()


def test_elements_of_arrays_stay() -> None:
    made: Any = ListSchema([1, [2]])
    for change in (
        lambda: operator.setitem(made, 0, 5),
        lambda: operator.delitem(made, 0),
        lambda: made.append(1),
        lambda: operator.setitem(made[1], 0, 5),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()
    kept = made
    made += (3,)
    assert kept == (1, (2,))


@pytest.mark.parametrize("rounds", [1, 4])
@pytest.mark.parametrize("cls", [LogResponse, AnyTypeSchema, DictSchema])
def test_what_it_was_made_of_may_change(cls: Any, rounds: int) -> None:
    """Nothing of the input's containers is kept, on the fast path as on the exact one."""
    for _ in range(rounds):
        source = copy.deepcopy(LOG)
        before, made = cls(LOG), cls(source)
        source["inputs"]["a"][1]["b"] = "changed"
        source["inputs"]["a"].append("changed")
        source["messages"][0]["content"] = "changed"
        source["messages"].clear()
        source["config"]["model"] = "changed"
        source["feedback"][0].clear()
        source["new"] = "changed"
        assert made == before
        assert "changed" not in repr(made)


def test_what_it_gives_may_change() -> None:
    made: Any = LogResponse(LOG)
    plain = made.to_primitive()
    plain["inputs"]["a"].append("changed")
    plain["messages"][0].clear()
    assert made == LogResponse(LOG)
    assert made.to_primitive() is not made.to_primitive()


# -- it travels -----------------------------------------------------------------------------------

TREE: Any = schema_from_openapi(
    {
        "type": "object",
        "properties": {"on": {"type": "boolean"}, "kind": {"anyOf": [ref("Kind"), ref("Long")]}},
        "additionalProperties": {"$ref": "#"},
    },
    components={
        "Kind": {"enum": ["a", "b"]},
        "Long": {"anyOf": [{"type": "string"}, {"type": "array", "items": ref("Kind")}]},
    },
    name="Tree",
)


def travellers() -> Iterator[Any]:
    yield LogResponse(LOG)
    yield TREE(on=True, kind="a", below={"on": False, "kind": ["a", "b"]})
    yield TREE({})
    for schema, value, _ in SAMPLES.values():
        yield make({"allOf": [ref("One"), ref("Two")]}, One=schema, Two={})(value)
        yield AnyTypeSchema(value)
    yield [LogResponse(LOG)["config"], ChatRole.USER, BoolClass.TRUE, NoneClass.NONE]


def names_of(value: Any) -> Any:
    """The names of all classes of a value and of its parts."""
    own = [cls.__name__ for cls in type(value).__mro__]
    if isinstance(value, frozendict):
        return own, {key: names_of(item) for key, item in value.items()}
    return own, [names_of(item) for item in value] if isinstance(value, (tuple, list)) else None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol(protocol: int) -> None:
    for made in travellers():
        again = pickle.loads(pickle.dumps(made, protocol))
        assert again == made
        assert names_of(again) == names_of(made)
        assert repr(again) == repr(made)


def echo(made: Any) -> tuple[Any, str, Any]:
    return made, repr(made), names_of(made)


def test_processes_hand_instances_to_each_other() -> None:
    """`spawn` starts from nothing: what is pickled has to say all."""
    sent = list(travellers())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        received = pool.map(echo, sent)
    for made, (again, text, names) in zip(sent, received, strict=True):
        assert again == made
        assert names_of(again) == names_of(made) == names
        assert repr(made) == text


def test_what_a_pickle_makes_is_no_less_than_the_original() -> None:
    again: Any = pickle.loads(pickle.dumps(TREE(on=True, below={})))
    assert again.on.is_true()
    assert list(again) == ["on", "below"]
    with pytest.raises(ValueError, match="Tree"):
        again.set("on", "yes")
    assert type(again)({}) == {}


def test_json_dumps_takes_the_primitive_form() -> None:
    made: Any = LogResponse(LOG)
    text = json.dumps(made.to_primitive())
    assert json.loads(text) == LOG
    assert LogResponse.from_json(text) == made
