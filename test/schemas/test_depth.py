"""The depth of values and JSON text: all depths up to `MAX_DEPTH` work, then there is one error."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from humanloop import model, schemas
from humanloop.exceptions import ApiValueError
from humanloop.schemas import MAX_DEPTH, AnyTypeSchema, DictSchema, SchemaValidationError
from schemas.support import accepts, deadline, make, nested

ANY_JSON: dict[str, Any] = {
    "oneOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "object", "additionalProperties": {"$ref": "#"}},
    ]
}
TREES: list[dict[str, Any]] = [{}, {"items": {"$ref": "#"}, "additionalProperties": {"$ref": "#"}}]

TOO_DEEP = [MAX_DEPTH + 1, 5_000, 100_000]


def only_error(call: Callable[[], Any]) -> schemas.ErrorDetail:
    with deadline(20), pytest.raises(SchemaValidationError) as caught:
        call()
    (detail,) = caught.value.errors
    assert detail.message.startswith("nested too deeply")
    assert "nested too deeply" in str(caught.value)
    return detail


# -- what works -----------------------------------------------------------------------------------


@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("schema", TREES)
def test_values_up_to_the_limit_work(schema: dict[str, Any], objects: bool) -> None:
    cls = make(schema)
    value = nested(MAX_DEPTH, objects=objects)
    made, same = cls(value), cls.from_json(schemas.to_json(value))
    assert made == same == value if objects else made == same
    assert hash(made) == hash(same)
    assert repr(made) == repr(same)
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    assert made.to_primitive() == value
    assert made.to_json() == schemas.to_json(value)


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_compositions_work_to_half_of_the_limit(keyword: str) -> None:
    array = {"type": "array", "items": {"$ref": "#"}}
    cls = make({keyword: [{"anyOf": [{"type": "number"}, array]}]})
    value: Any = 1
    for _ in range(MAX_DEPTH // 2):
        value = [value]
    assert accepts(cls, value)
    assert accepts(ANY_JSON, nested(MAX_DEPTH // 2, objects=True))


@pytest.mark.parametrize("keyword", [{"uniqueItems": True}, {"not": {"enum": [[[0]], 5]}}])
def test_values_are_compared_at_every_level(keyword: dict[str, Any]) -> None:
    value: Any = [0]
    for _ in range(MAX_DEPTH // 2):
        value = [value, [1, 2]]
    assert accepts({**keyword, "items": {"$ref": "#"}}, value)


# -- what does not --------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", TOO_DEEP)
@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("schema", [*TREES, ANY_JSON])
def test_a_deeper_value_gets_one_error(schema: dict[str, Any], objects: bool, depth: int) -> None:
    detail = only_error(lambda: make(schema)(nested(depth, objects=objects)))
    assert (detail.pointer, detail.keyword) == ("", "depth")


@pytest.mark.parametrize("depth", TOO_DEEP)
@pytest.mark.parametrize("objects", [False, True])
def test_the_error_says_where_the_nesting_begins(objects: bool, depth: int) -> None:
    value = {"project": "p", "inputs": {"ok": [1], "a b": nested(depth, objects=objects)}}
    assert only_error(lambda: model.LogRequest(value)).pointer == "/inputs/a b"
    text = '{"project": "p", "inputs": {"ok": [1], "a b": %s}}' % (
        '{"a":' * depth + "1" + "}" * depth if objects else "[" * depth + "]" * depth
    )
    assert only_error(lambda: model.LogRequest.from_json(text)).pointer == "/inputs/a b"
    assert only_error(lambda: model.LogRequest.from_json(text.encode())).pointer == "/inputs/a b"


def test_a_nesting_of_several_steps_begins_at_the_first() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = {"next": [value]}
    assert only_error(lambda: DictSchema(list=[0, value])).pointer == "/list/1"
    value = {}
    for step in range(300):
        value = {f"step {step}": value}
    assert only_error(lambda: DictSchema(value)).pointer.startswith("/step 299/step 298/")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '[{"a":' * 5_000 + "1"])
def test_deep_text_that_is_cut_off_is_too_deep(text: str) -> None:
    assert only_error(lambda: AnyTypeSchema.from_json(text)).pointer == ""
    with pytest.raises(ValueError, match="nested too deeply"):
        schemas.loads(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32"])
def test_brackets_within_strings_do_not_nest(encoding: str) -> None:
    text = schemas.to_json({"a": "[{" * 5_000, "b": [['"]]'] * 300, "\\[" * 300]})
    made: Any = AnyTypeSchema.from_json(text if encoding == "utf-8" else text.encode(encoding))
    assert made["a"] == "[{" * 5_000
    deep = '{"é": %s}' % ("[" * 5_000)
    assert only_error(lambda: AnyTypeSchema.from_json(deep.encode(encoding))).path == ("é",)


def test_objects_and_arrays_in_turn_are_deep_on_any_thread() -> None:
    text = '[{"a":' * 150 + "1" + "}]" * 150
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="nested too deeply"):
        pool.submit(schemas.loads, text).result()


def test_a_registered_type_that_converts_to_a_deep_value_gets_the_same_error() -> None:
    class Deep:
        pass

    schemas.to_input.register(Deep, lambda _: nested(1_000))
    only_error(lambda: AnyTypeSchema(Deep()))
    only_error(lambda: AnyTypeSchema({"a": Deep()}))


def test_subtypes_of_subtypes_take_no_longer_at_each_level() -> None:
    kind = {"kind": {"type": "string"}}
    pet = {
        "type": "object",
        "discriminator": {"propertyName": "kind"},
        "properties": {**kind, "child": {"$ref": "#/components/schemas/Pet"}},
    }
    cat = {
        "allOf": [{"$ref": "#/components/schemas/Pet"}, {"properties": {"m": {"type": "string"}}}]
    }
    cls = make({"$ref": "#/components/schemas/Pet"}, Pet=pet, Cat=cat)
    value: Any = {"kind": "Cat"}
    for _ in range(40):
        value = {"kind": "Cat", "child": value}
    with deadline(10):
        assert accepts(cls, value)
        assert not accepts(cls, {**value, "m": 1})


@pytest.mark.parametrize("hidden", ['["]",%s,"["]', r'["\\\"]",%s,"["]', r'["]\\",%s,"[\""]'])
def test_brackets_within_strings_hide_no_nesting(hidden: str) -> None:
    """On a thread that is not the main one, the depth is looked at before the text is decoded."""
    text = "1"
    for _ in range(300):
        text = hidden % text
    with ThreadPoolExecutor(1) as pool:
        for data in (text, text.encode(), text.encode("utf-16")):
            with pytest.raises(ValueError, match="nested too deeply"):
                pool.submit(schemas.loads, data).result()
        assert pool.submit(schemas.loads, "[" + '["]{"],' * 300 + "1]").result()[300] == 1


@pytest.mark.parametrize("write", [schemas.to_json, schemas.to_primitive])
def test_a_deeper_value_is_not_written(write: Callable[[Any], Any]) -> None:
    with pytest.raises(ApiValueError, match=r"nested too deeply.* at /a$"):
        write({"a": nested(5_000)})


def test_a_value_that_holds_one_part_twice_at_every_level_ends_in_time() -> None:
    value: Any = []
    for _ in range(5_000):
        value = [value]
    shared = [value]
    for _ in range(15):
        shared = [shared, shared]
    only_error(lambda: AnyTypeSchema(shared))


def test_errors_at_every_level_do_not_fill_the_memory() -> None:
    """The pointers of all errors would be 30 million steps long in sum."""
    value: Any = [1] * 150_000
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    with deadline(60), pytest.raises(SchemaValidationError) as caught:
        make({"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"type": "string"}]})(value)
    assert sum(len(error.path) for error in caught.value.errors) < 20_000_000


# -- little stack ---------------------------------------------------------------------------------


def _at(depth: int, call: Callable[[], Any]) -> Any:
    return call() if depth == 0 else _at(depth - 1, call)


def test_the_first_value_may_come_with_little_stack_left() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    value: Any = 1
    for _ in range(30):
        schema, value = {"type": "object", "properties": {"a": schema}}, {"a": value}
    make(schema)(value)  # completes late imports
    for depth in range(sys.getrecursionlimit() - 350, sys.getrecursionlimit() - 250, 10):
        cls = make(schema)
        assert _at(depth, lambda cls=cls: cls(value)) == value  # type: ignore[misc]


def test_a_stack_that_is_nearly_used_up_gets_the_same_error() -> None:
    """The fast path may need no stack of Python's, so the matcher is asked."""
    value = {"a": nested(100)}
    for depth in (sys.getrecursionlimit() - 160, sys.getrecursionlimit() - 140):
        call = partial(DictSchema.interpret, value)
        assert only_error(partial(_at, depth, call)).pointer == "/a"


def test_a_class_remembers_nothing_of_a_stack_that_ran_out() -> None:
    kind = {"anyOf": [{"$ref": "#/components/schemas/Kind"}, {"type": "string"}]}
    components = {"Kind": {"type": "string", "enum": ["a", "b"]}}
    schema = {"type": "object", "properties": {"k": kind}}
    schemas.schema_from_openapi(schema, components=components)({"k": "a"})
    limit = sys.getrecursionlimit()
    for depth in range(limit - 150, limit):
        cls: Any = schemas.schema_from_openapi(schema, components=components)
        with suppress(RecursionError, SchemaValidationError):
            _at(depth, lambda cls=cls: cls({"k": "a"}))  # type: ignore[misc]
        assert type(cls({"k": "a"})["k"]).__name__ == "Kind"


@pytest.mark.parametrize("kilobytes", [256, 512])
def test_a_thread_with_a_small_stack_does_not_crash(kilobytes: int) -> None:
    tree = make(TREES[1])
    value = nested(100_000, objects=True)  # Python itself may crash where it frees such a one
    done: list[Any] = []

    def work() -> None:
        deep = AnyTypeSchema(nested(MAX_DEPTH))
        done.append((hash(deep), deep == nested(1), repr(deep), pickle.dumps(deep)))
        only_error_plain(lambda: tree(value))
        only_error_plain(lambda: tree.from_json("[" * 100_000))
        only_error_plain(lambda: tree.from_json('{"a":' * 900 + "1" + "}" * 900))
        tree.from_json('{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH).to_json()
        done.append(True)

    before = threading.stack_size(kilobytes * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert done[-1:] == [True]


def only_error_plain(call: Callable[[], Any]) -> None:
    """As `only_error`, for any thread: a signal, such as a deadline's, comes to the main one."""
    with pytest.raises(SchemaValidationError, match="nested too deeply") as caught:
        call()
    assert len(caught.value.errors) == 1
