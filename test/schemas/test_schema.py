"""Instances: identity, immutability, attributes, accessors, equality, copies, pickles, `match`."""

from __future__ import annotations

import copy
import json
import pickle
import pprint
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from frozendict import frozendict

from humanloop import schemas
from humanloop.exceptions import ApiTypeError, ApiValueError, OpenApiException
from humanloop.model import ChatRole, ExperimentStatus, ProviderApiKeys, ToolCall
from humanloop.schemas import (
    AnyTypeSchema,
    BoolClass,
    BoolSchema,
    DictSchema,
    ListSchema,
    NoneClass,
    NoneSchema,
    NumberSchema,
    SchemaValidationError,
    StrSchema,
    unset,
)

from .support import deadline, make

PROPERTIES = {
    "id": {"type": "string"},
    "note": {"type": "string", "nullable": True},
    "items": {"type": "array", "items": {"type": "number"}},
    "size": {"type": "number"},
    "part": {"$ref": "#/components/schemas/Part"},
    "class": {"type": "string"},
    "_hidden": {"type": "string"},
}
COMPONENTS: dict[str, Any] = {"Part": {"type": "object", "properties": {"on": {"type": "boolean"}}}}
VALUE = {"id": "x", "items": [1, 2], "size": 0.5, "part": {"on": True}, "class": "c", "more": 1}


def thing_class() -> Any:
    return make({"type": "object", "required": ["id"], "properties": PROPERTIES}, **COMPONENTS)


@pytest.fixture(scope="module")
def thing() -> Any:
    cls = thing_class()
    for _ in range(4):
        made = cls(VALUE)
    return made


# -- what it is -----------------------------------------------------------------------------------


def test_the_types_of_instances() -> None:
    assert isinstance(DictSchema({}), (frozendict, Mapping))
    assert isinstance(ListSchema([]), (tuple, Sequence))
    assert isinstance(StrSchema("a"), str)
    assert isinstance(NumberSchema(1), Decimal)
    assert isinstance(BoolSchema(True), BoolClass)
    assert isinstance(NoneSchema(None), NoneClass)
    for cls, value in [
        (DictSchema, {}),
        (ListSchema, []),
        (StrSchema, "a"),
        (NumberSchema, 1),
        (BoolSchema, False),
        (NoneSchema, None),
    ]:
        for _ in range(4):
            assert isinstance(cls(value), cls)
            assert isinstance(cls(value), schemas.Schema)


@pytest.mark.parametrize(
    ("value", "equal"),
    [
        ({"a": [1, {"b": None}]}, {"a": (1, {"b": None})}),
        ([1, "a"], (1, "a")),
        ("a", "a"),
        (1, 1),
        (0.5, Decimal("0.5")),
        (10**400, 10**400),
        (True, True),
        (False, False),
        (None, None),
    ],
)
def test_equality_and_hash_are_those_of_the_plain_object(value: Any, equal: Any) -> None:
    made: Any = AnyTypeSchema(value)
    again: Any = AnyTypeSchema(value)
    for other in (equal, again, AnyTypeSchema(made)):
        assert made == other
        assert other == made
        assert not made != other  # noqa: SIM202
    assert made != "something else"
    assert bool(made) is bool(equal)
    hashable = frozendict(a=(1, frozendict(b=None))) if isinstance(equal, dict) else equal
    assert hash(made) == hash(again) == hash(hashable)
    assert {made: 1}[hashable] == 1
    assert hashable in {made}
    assert made in {hashable}


def test_an_instance_with_bytes_hashes_and_the_order_of_keys_does_not_count() -> None:
    assert hash(DictSchema(a=1, b=b"x")) == hash(DictSchema(b=b"x", a=1))
    assert DictSchema(a=1, b=2) == DictSchema(b=2, a=1)
    assert list(DictSchema({"b": 1, "a": 2})) == ["b", "a"], "and is kept"


def test_booleans_and_null_stand_for_pythons_own() -> None:
    made = DictSchema(t=True, f=False, n=None)
    assert made["t"] == True  # noqa: E712
    assert made["f"] == False  # noqa: E712
    assert made["n"] == None  # noqa: E711
    assert (bool(made["t"]), bool(made["f"]), bool(made["n"])) == (True, False, False)
    assert {made["t"], made["f"], made["n"]} == {True, False, None}
    assert made["t"].is_true() is made["t"].is_true_oapg() is True
    assert made["t"].is_false() is made["t"].is_false_oapg() is False
    assert made["f"].is_false() is made["f"].is_false_oapg() is True
    assert made["n"].is_none() is made["n"].is_none_oapg() is True
    assert made["t"] != made["f"]
    assert made["n"] != made["f"]
    assert made["n"] != 0
    assert (repr(made["t"]), repr(made["n"])) == ("True", "None")


def test_hash_of_a_huge_exponent_costs_nothing() -> None:
    with deadline():
        number = NumberSchema(Decimal("1E+1000000000"))
        hash(number)
        assert number == number
        assert number.to_json()


# -- reading --------------------------------------------------------------------------------------


def test_keys_are_items_and_declared_ones_attributes(thing: Any) -> None:
    assert thing["id"] == thing.id == "x"
    assert thing.part.on == True  # noqa: E712
    assert thing.size == Decimal("0.5")
    assert getattr(thing, "class") == "c"
    assert isinstance(thing.part, type(thing["part"]))


def test_keys_that_are_methods_of_dict_are_items_only(thing: Any) -> None:
    assert thing["items"] == (1, 2)
    assert dict(thing.items())["id"] == "x"
    assert set(thing.keys()) == set(VALUE)
    assert "id" in thing
    assert len(thing) == len(VALUE)
    assert thing.get("nothing") is None


@pytest.mark.parametrize("name", ["note", "nothing", "more", "idd", "_hidden", "__nothing__"])
def test_absent_and_undeclared_keys_are_no_attributes(thing: Any, name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(thing, name)
    assert isinstance(caught.value, OpenApiException)
    assert not hasattr(thing, name)
    assert getattr(thing, name, 5) == 5


def test_a_misspelled_attribute_names_the_likely_one(thing: Any) -> None:
    with pytest.raises(AttributeError, match="size"):
        _ = thing.sise


def test_fromkeys_validates_and_leaves_what_it_is_given() -> None:
    inner: dict[str, Any] = {"z": 1, "l": [1, {"q": 2}]}
    cls = make({"type": "object", "properties": {"a": {}}})
    made = cls.fromkeys(["a"], inner)
    assert type(made) is cls
    assert made == {"a": {"z": 1, "l": (1, {"q": 2})}}
    assert json.dumps(inner) == '{"z": 1, "l": [1, {"q": 2}]}'
    with pytest.raises(SchemaValidationError):
        cls.fromkeys([1], 2)


def test_keywords_stand_beside_a_mapping_alone() -> None:
    named = ToolCall({"name": "search"}, arguments="{}", extra=unset)
    assert named == ToolCall(name="search", arguments="{}") == {"name": "search", "arguments": "{}"}
    for given in ("text", None, [("name", "search")]):
        with pytest.raises(ApiTypeError, match=f"with a mapping, got {type(given).__name__}"):
            ToolCall(given, arguments="{}")  # type: ignore[arg-type]


def test_get_item_gives_unset_where_there_is_nothing(thing: Any) -> None:
    for get in (thing.get_item, thing.get_item_oapg):
        assert get("id") == "x"
        assert get("more") == 1
        assert get("note") is unset
        assert get("nothing") is unset
    assert not unset
    assert pickle.loads(pickle.dumps(unset)) is copy.deepcopy(unset) is unset
    assert repr(unset) == "unset"


def test_a_key_error_for_a_missing_item(thing: Any) -> None:
    with pytest.raises(KeyError):
        thing["nothing"]


def test_attributes_of_composed_classes() -> None:
    cls = make(
        {"allOf": [{"$ref": "#/components/schemas/Part"}], "properties": {"n": {}}}, **COMPONENTS
    )
    made = cls({"on": False, "n": 1})
    assert made.on == False  # noqa: E712
    assert made.n == 1


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5), (Decimal("1E+2"), 100), (Decimal("7.00"), 7), (-(10**50), -(10**50))],
)
def test_as_int(value: Any, number: int) -> None:
    made = NumberSchema(value)
    assert type(made.as_int) is int
    assert made.as_int == made.as_int_oapg == number


@pytest.mark.parametrize("text", ["0.5", "1E+1000000000", "1E-1000000000", "1." + "0" * 50 + "1"])
def test_as_int_refuses_what_is_no_int_that_fits(text: str) -> None:
    with deadline(), pytest.raises(ApiValueError):
        _ = NumberSchema(Decimal(text)).as_int


def test_as_float() -> None:
    made = NumberSchema(Decimal("0.1"))
    assert type(made.as_float) is float
    assert made.as_float == made.as_float_oapg == 0.1


# -- immutability ---------------------------------------------------------------------------------

CHANGES: list[Callable[[Any], Any]] = [
    lambda x: x.__setitem__("id", "y"),
    lambda x: x.__delitem__("id"),
    lambda x: x.update(id="y"),
    lambda x: x.pop("id"),
    lambda x: x.popitem(),
    lambda x: x.clear(),
    lambda x: setattr(x, "id", "y"),
    lambda x: setattr(x, "new", "y"),
    lambda x: delattr(x, "id"),
    lambda x: x.__dict__.update(id="y"),
    lambda x: object.__setattr__(x, "id", "y"),
    lambda x: object.__setattr__(x, "__class__", dict),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("model", [False, True], ids=["dynamic", "generated"])
def test_nothing_changes_an_instance(change: Callable[[Any], Any], model: bool) -> None:
    made: Any = ToolCall({"id": "x", "name": "f"}) if model else thing_class()({"id": "x"})
    before = dict(made)
    with pytest.raises((TypeError, AttributeError)):
        change(made)
    assert dict(made) == before
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize(
    "made",
    [
        ListSchema([1]),
        StrSchema("a"),
        NumberSchema(1),
        BoolSchema(True),
        NoneSchema(None),
        ChatRole("user"),
        DictSchema(a=True)["a"],
        DictSchema(a=None)["a"],
    ],
    ids=lambda made: type(made).__name__,
)
def test_no_instance_takes_attributes(made: Any) -> None:
    for name in ("new", "is_true"):
        with pytest.raises(AttributeError):
            setattr(made, name, 1)
        with pytest.raises(AttributeError):
            delattr(made, name)
    with pytest.raises(AttributeError):
        object.__setattr__(made, "new", 1)
    # FastAPI asks a null or a boolean for it, and gets the plain value.
    assert not isinstance(getattr(made, "__dict__", None), dict)


def test_the_shared_booleans_can_not_be_broken() -> None:
    own: Any = make({"type": "boolean"})(True)
    with pytest.raises(AttributeError):
        own._value = False
    with pytest.raises(AttributeError):
        del own._value
    assert own == True  # noqa: E712


def test_init_changes_nothing() -> None:
    made = DictSchema(a=1)
    for again in ({"a": 2}, {"b": 2}):
        with suppress(TypeError):
            made.__init__(again)  # type: ignore[misc]
        assert made == {"a": 1}


def test_in_place_operators_make_something_new() -> None:
    made: Any = ListSchema([1])
    kept = made
    made += (2,)
    assert (kept, made) == ((1,), (1, 2))
    first: Any = DictSchema(a=1)
    second = first
    second |= {"b": 2}
    assert first == {"a": 1}
    assert second == {"a": 1, "b": 2}


# -- changed copies -------------------------------------------------------------------------------


def test_set_delete_and_setdefault_give_validated_copies() -> None:
    cls = thing_class()
    made = cls({"id": "x"})
    longer = made.set("size", 0.1)
    assert isinstance(longer, cls)
    assert longer == {"id": "x", "size": Decimal("0.1")}
    assert made == {"id": "x"}
    assert longer.delete("size") == made
    assert isinstance(longer.delete("size"), cls)
    assert made.setdefault("id", "y") == made
    assert made.setdefault("size", 2) == {"id": "x", "size": 2}
    with pytest.raises(SchemaValidationError):
        made.set("size", "big")
    with pytest.raises(SchemaValidationError):
        made.delete("id")
    with pytest.raises(SchemaValidationError):
        made.setdefault("size", "big")
    with pytest.raises(KeyError):
        made.delete("nothing")


@pytest.mark.parametrize(
    ("left", "right", "union"),
    [
        (DictSchema(a=1, b=1), {"b": 2}, {"a": 1, "b": 2}),
        ({"b": 2, "a": 1}, DictSchema(b=1), {"a": 1, "b": 1}),
        (DictSchema(a=1), DictSchema(b=1), {"a": 1, "b": 1}),
        (frozendict(a=1), DictSchema(b=1), {"a": 1, "b": 1}),
        (DictSchema(a=1), frozendict(b=1), {"a": 1, "b": 1}),
    ],
)
def test_a_union_is_a_plain_frozendict(left: Any, right: Any, union: Any) -> None:
    made = left | right
    assert made == union
    assert isinstance(made, frozendict)
    assert not isinstance(made, schemas.Schema) or not isinstance(left, schemas.Schema)


def test_a_union_with_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        DictSchema(a=1) | [("b", 1)]  # type: ignore[operator]


# -- copies and pickles ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda x: x.copy()]
    + [
        lambda x, p=protocol: pickle.loads(pickle.dumps(x, p))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ],
)
def test_copies_and_pickles_are_equal(thing: Any, again: Callable[[Any], Any]) -> None:
    made = again(thing)
    assert made == thing
    assert hash(made) == hash(thing)
    assert type(made).__name__ == type(thing).__name__
    assert made.part.on.is_true()
    assert isinstance(made.size, NumberSchema)


@pytest.mark.parametrize("value", [[1, {"a": 2}], "a", 0.5, True, None, b"x", {"a": {}}])
def test_every_kind_copies_and_pickles(value: Any) -> None:
    made: Any = make({"anyOf": [{}]})(value)
    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert again == made
        assert type(again).__name__ == type(made).__name__


def test_generated_instances_keep_their_class() -> None:
    made = ExperimentStatus.IN_PROGRESS
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(again) is type(made)
        assert again == made


def test_classes_pickle() -> None:
    assert pickle.loads(pickle.dumps(ExperimentStatus)) is ExperimentStatus
    again = pickle.loads(pickle.dumps(thing_class()))
    assert again({"id": "x"}).id == "x"


READ = """
import pickle, sys
made = pickle.load(sys.stdin.buffer)
print(type(made).__name__, made.part.on.is_true(), made.size)
"""


def test_a_pickle_is_read_in_another_process(thing: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ], input=pickle.dumps(thing), capture_output=True, check=True
    )
    assert done.stdout.split() == [b"Thing", b"True", b"0.5"]


# -- in Python's own ways -------------------------------------------------------------------------


def kind_of(value: Any) -> str:
    match value:
        case ExperimentStatus.IN_PROGRESS:
            return "running"
        case ExperimentStatus():
            return "status"
        case {"id": str(id), "part": {"on": on}}:
            return f"thing {id} {on}"
        case [first, *_]:
            return f"array from {first}"
        case Decimal():
            return "number"
        case str(text):
            return f"text {text}"
        case _:
            return "other"


def test_match_statements(thing: Any) -> None:
    assert kind_of(thing) == "thing x True"
    assert kind_of(ListSchema([3, 4])) == "array from 3"
    assert kind_of(ExperimentStatus("In progress")) == "running"
    assert kind_of(ExperimentStatus("Initialized")) == "status"
    assert kind_of(NumberSchema(1)) == "number"
    assert kind_of(StrSchema("a")) == "text a"
    assert kind_of(NoneSchema(None)) == "other"
    match thing:
        case DictSchema(id=id, size=size):  # type: ignore[misc]
            assert (id, size) == ("x", Decimal("0.5"))
        case _:
            pytest.fail("a class pattern reads attributes")


def test_sorted_sets_formats_and_representations(thing: Any) -> None:
    assert sorted([NumberSchema(2), Decimal(1), NumberSchema(0.5)]) == [Decimal("0.5"), 1, 2]
    assert sorted([StrSchema("b"), "a"]) == ["a", "b"]
    assert {StrSchema("a"), "a"} == {"a"}
    assert f"{StrSchema('a'):>3}" == "  a"
    assert f"{NumberSchema(0.5):.2f}" == "0.50"
    assert repr(thing).startswith("Thing(")
    assert "'id': 'x'" in repr(thing)
    assert pprint.pformat(thing)
    assert dict(thing) == thing
    assert {**thing} == thing
    assert json.loads(thing.to_json()) == json.loads(json.dumps(thing.to_primitive()))


def test_keys_of_providers_are_in_no_representation() -> None:
    """Keys never show in representations; they are there to be read."""
    secret = "sk-abcdefghijklmnop"
    made: Any = ProviderApiKeys(openai=secret)
    for text in (repr(made), str(made), f"{made}", repr(DictSchema(provider_api_keys=made))):
        assert secret not in text
    assert made["openai"] == secret
    assert secret in made.to_json()


def test_hundreds_of_classes_stay_themselves() -> None:
    made = []
    for index in range(200):
        cls = make({"type": "object", "properties": {f"k{index}": {"type": "string"}}})
        made.append((cls, type(cls({f"k{index}": "a"}))))
    assert all(type(cls({})) is kind for cls, kind in made)
    assert len({kind for _, kind in made}) == 200


def test_instances_of_equal_shape_have_one_type() -> None:
    cls = thing_class()
    assert len({type(cls(VALUE)) for _ in range(50)}) == 1
    assert len({type(cls(VALUE)["part"]) for _ in range(50)}) == 1


def test_many_shapes_and_orders_of_keys_keep_their_verdict() -> None:
    cls = thing_class()
    for index in range(600):
        value: dict[str, Any] = {f"x{index}": index, "id": "a", "size": index}
        assert cls(value) == value
        with pytest.raises(SchemaValidationError):
            cls({**value, "size": "wrong"})
    for keys in (("id", "size"), ("size", "id")) * 20:
        assert list(cls({key: VALUE[key] for key in keys})) == list(keys)


def test_threads_may_make_the_first_instances_together() -> None:
    cls = thing_class()
    start = threading.Barrier(32)
    found: list[Any] = []

    def run() -> None:
        start.wait()
        found.extend(cls(VALUE) for _ in range(10))

    threads = [threading.Thread(target=run) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 320
    assert len({type(made) for made in found}) == 1
    assert all(made == found[0] for made in found)


def test_the_name_of_version_0_5_for_decoded_json() -> None:
    assert thing_class().from_openapi_data_oapg({"id": "x"}).id == "x"


def test_classes_may_be_derived_by_users() -> None:
    class Mine(StrSchema):
        __openapi__: Any = {"type": "string", "maxLength": 3}  # noqa: RUF012

        def loud(self) -> str:
            return self.upper()

    assert Mine("abc").loud() == "ABC"
    with pytest.raises(SchemaValidationError):
        Mine("abcd")
