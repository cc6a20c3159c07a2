"""Hostile inputs, one a run, and what came of it as JSON.

    python test/long/hostile.py NAME SIZE BYTES_OF_MEMORY [use]

An input is made first; what is measured is the CPU time of asking the class, and with `use` of
using the instance in every way that goes through all of it. Python's own recursion limit holds.
"""

from __future__ import annotations

import copy
import json
import pickle
import resource
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from humanloop import model, schemas
from humanloop.schemas import SchemaValidationError, schema_from_openapi

__all__ = ["CASES"]

Ask = Callable[[], Any]
CASES: dict[str, Callable[[int], Ask]] = {}


def case(make: Callable[[int], Ask]) -> Callable[[int], Ask]:
    CASES[make.__name__] = make
    return make


def made(schema: dict[str, Any]) -> Any:
    return schema_from_openapi(schema, name="Thing")


FREE = made({})
TREE = made(
    {
        "type": "object",
        "properties": {"a": {"$ref": "#"}, "items": {"type": "array", "items": {"$ref": "#"}}},
    }
)
ANY_TREE = made(
    {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"$ref": "#"}},
            {"type": "object", "additionalProperties": {"$ref": "#"}},
        ]
    }
)
TWICE = made(
    {
        "allOf": [
            {"properties": {"a": {"$ref": "#"}}},
            {"properties": {"a": {"$ref": "#"}}},
            {"not": {"properties": {"a": {"$ref": "#"}}, "required": ["z"]}},
        ]
    }
)
CLOSED = made({"type": "object", "properties": {"name": {}}, "additionalProperties": False})


def nested(size: int, *, objects: bool = False, innermost: Any = None) -> Any:
    value: Any = innermost
    for _ in range(size):
        value = {"a": value} if objects else [value]
    return value


# -- depth ----------------------------------------------------------------------------------------


@case
def deep_lists(size: int) -> Ask:
    value = nested(size, innermost=[])
    return lambda: FREE(value)


@case
def deep_objects(size: int) -> Ask:
    value = nested(size, objects=True, innermost={})
    return lambda: FREE(value)


@case
def deep_tuples(size: int) -> Ask:
    value: Any = ()
    for _ in range(size):
        value = (value,)
    return lambda: FREE(value)


@case
def deep_recursive_schema(size: int) -> Ask:
    value = nested(size, objects=True, innermost={})
    return lambda: TREE(value)


@case
def deep_union(size: int) -> Ask:
    value = nested(size, objects=True, innermost="leaf")
    return lambda: ANY_TREE(value)


@case
def deep_union_with_an_error(size: int) -> Ask:
    value = nested(size, innermost=7)
    return lambda: ANY_TREE(value)


@case
def deep_schema_said_twice(size: int) -> Ask:
    value = nested(size, objects=True, innermost={})
    return lambda: TWICE(value)


@case
def deep_in_a_model(size: int) -> Ask:
    value = {"project": "p", "inputs": nested(size, objects=True, innermost={})}
    return lambda: model.LogRequest(value)


@case
def deep_equal_items(size: int) -> Ask:
    """uniqueItems and enum compare whole values."""
    cls = made({"uniqueItems": True, "not": {"enum": [[[[]]]]}})
    value = [nested(size, innermost=1), nested(size, innermost=2)]
    return lambda: cls(value)


@case
def deep_json_arrays(size: int) -> Ask:
    text = "[" * size + "]" * size
    return lambda: FREE.from_json(text)


@case
def deep_json_objects(size: int) -> Ask:
    text = '{"a":' * size + "{}" + "}" * size
    return lambda: TREE.from_json(text.encode())


@case
def deep_json_that_never_closes(size: int) -> Ask:
    text = '[{"a":' * size
    return lambda: FREE.from_json(text)


# -- size -----------------------------------------------------------------------------------------


@case
def long_string(size: int) -> Ask:
    value = "aé💩 " * (size // 4)
    return lambda: FREE({"text": value, value: 1})


@case
def long_string_and_every_check(size: int) -> Ask:
    checks = [{"format": name} for name in schemas.FORMATS]
    patterns = [{"pattern": p} for p in ("^a+$", "^[^b]*b", "^.*x$", r"^\s+|\S$")]
    cls = made({"type": "string", "allOf": [*checks, *patterns], "enum": ["a"], "maxLength": 9})
    value = "a" * size + "!"
    return lambda: cls(value)


@case
def long_json_string(size: int) -> Ask:
    text = json.dumps(["\ud800é\n" * (size // 3)])
    return lambda: FREE.from_json(text)


@case
def many_digits(size: int) -> Ask:
    cls = made({"type": "number", "multipleOf": 3, "minimum": 0})
    text = "3" * size
    return lambda: cls.from_json(text)


@case
def many_digits_after_the_point(size: int) -> Ask:
    cls = made({"type": "number", "multipleOf": Decimal("0.01"), "minimum": 0})
    text = f"0.{'3' * size}"
    return lambda: cls.from_json(text)


@case
def great_exponents(size: int) -> Ask:
    cls = made({"type": "array", "uniqueItems": True, "items": {"multipleOf": 0.7, "minimum": 2}})
    text = f"[{','.join(f'{index}.5e{10**9}' for index in range(1, size))}]"
    return lambda: cls.from_json(text)


# -- number ---------------------------------------------------------------------------------------


@case
def many_keys(size: int) -> Ask:
    value = {f"key{index}": index for index in range(size)}
    return lambda: FREE(value)


@case
def many_keys_in_json(size: int) -> Ask:
    text = json.dumps({f"key{index}": index for index in range(size)})
    return lambda: model.LogRequest.from_json(text)


@case
def many_unknown_keys(size: int) -> Ask:
    value = {f"nam{index}": index for index in range(size)}
    return lambda: CLOSED(value)


@case
def many_errors(size: int) -> Ask:
    cls = made({"type": "array", "items": {"type": "integer", "minimum": 3}})
    value = ["text", 1] * (size // 2)
    return lambda: cls(value)


@case
def many_errors_in_unions(size: int) -> Ask:
    branch = {"type": "object", "required": ["b"], "properties": {"a": {"type": "string"}}}
    other = {"type": "object", "required": ["c", "d"]}
    cls = made({"type": "array", "items": {"anyOf": [branch, other]}})
    value = [{"a": index} for index in range(size)]
    return lambda: cls(value)


@case
def many_values_that_json_lacks(size: int) -> Ask:
    value = [float("nan"), {1: 2}, object()] * (size // 3)
    return lambda: FREE(value)


@case
def many_equal_items(size: int) -> Ask:
    cls = made({"uniqueItems": True})
    value = [{"a": [index]} for index in range(size)]
    return lambda: cls(value)


@case
def the_same_key_again_and_again(size: int) -> Ask:
    text = "{" + ",".join(f'"a":{index}' for index in range(size)) + "}"
    return lambda: FREE.from_json(text)


def asking_each(values: list[Any]) -> Ask:
    cls = made({"type": "object", "properties": {"name": {"type": "string"}}})

    def ask() -> Any:
        for value in values:
            cls(value)
        return cls(values[0])

    return ask


@case
def shapes_that_never_come_again(size: int) -> Ask:
    values = [{f"key{index}": index, "name": "text"} for index in range(size)]
    return asking_each(values)


@case
def shapes_that_come_twice(size: int) -> Ask:
    values = [{f"key{index // 2}": index, "name": "text"} for index in range(size)]
    return asking_each(values)


# -- form -----------------------------------------------------------------------------------------


@case
def list_that_holds_itself(size: int) -> Ask:
    value: list[Any] = [1]
    value.append(value)
    return lambda: FREE(value)


@case
def object_that_holds_itself(size: int) -> Ask:
    inner: dict[str, Any] = {}
    inner["a"] = {"items": [inner]}
    return lambda: TREE(inner)


# -- running --------------------------------------------------------------------------------------


def use(instance: Any) -> None:
    """Everything that goes through a whole instance, and through all of its class's nodes."""
    copied = pickle.loads(pickle.dumps(instance))
    assert copied == instance
    assert hash(copied) == hash(instance)
    assert copy.deepcopy(instance) == instance
    text = schemas.to_json(instance)
    try:
        again = FREE.from_json(text)
    except SchemaValidationError as error:
        if "nested" not in error.errors[0].message:
            raise
    else:
        assert again == instance
    repr(instance)
    schemas.to_primitive(instance)


def run(name: str, size: int, *, uses: bool) -> dict[str, Any]:
    ask = CASES[name](size)
    found: dict[str, Any] = {"errors": 0, "message": 0, "used": 0.0}
    began = time.process_time()
    try:
        instance = ask()
    except SchemaValidationError as error:
        found["message"] = len(str(error))
        found["asked"] = time.process_time() - began
        found["errors"], found["keyword"] = len(error.errors), error.errors[0].keyword
        repr(error)
        if uses:
            pickle.loads(pickle.dumps(error))
        return found
    found["asked"] = time.process_time() - began
    if uses:
        began = time.process_time()
        use(instance)
        found["used"] = time.process_time() - began
    return found


if __name__ == "__main__":
    case_name, case_size, memory, *options = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    print(json.dumps(run(case_name, int(case_size), uses="use" in options)))
