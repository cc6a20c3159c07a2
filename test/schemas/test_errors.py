"""The error of a bad value: all faults at once, each with its place, short, without secrets."""

from __future__ import annotations

import copy
import pickle
import traceback
from decimal import Decimal
from typing import Any

import pytest

from humanloop.exceptions import OpenApiException
from humanloop.schemas import AnyTypeSchema, ErrorDetail, SchemaValidationError, StrSchema

from .support import errors_of, make, message_of

STATUS = {"type": "string", "enum": ["open", "closed"]}
THING = {
    "type": "object",
    "required": ["id", "created_at"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "minLength": 2},
        "created_at": {"type": "string", "format": "date-time"},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "status": {"$ref": "#/components/schemas/Status"},
        "labels": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "part": {"$ref": "#"},
    },
}


def thing() -> Any:
    return make(THING, Status=STATUS)


def error_of(cls: Any, value: Any) -> SchemaValidationError:
    with pytest.raises(SchemaValidationError) as caught:
        cls(value)
    return caught.value


BAD = {
    "temperature": 3,
    "status": "Open",
    "labels": ["a", 1, None],
    "part": {"id": "x", "created_at": "2023-02-29T00:00:00Z", "idd": 1},
    "created": "2024-01-01T00:00:00Z",
}
WRONG = {
    ("/id", "required"),
    ("/created_at", "required"),
    ("/temperature", "maximum"),
    ("/status", "enum"),
    ("/labels/1", "type"),
    ("/labels/2", "type"),
    ("/part/id", "minLength"),
    ("/part/created_at", "format"),
    ("/part/idd", "additionalProperties"),
    ("/created", "additionalProperties"),
}


def test_all_errors_come_at_once_in_the_same_order() -> None:
    cls = thing()
    found = errors_of(cls, BAD)
    assert set(found) == WRONG
    assert len(found) == len(WRONG)
    assert all(errors_of(cls, BAD) == found for _ in range(5))
    assert errors_of(thing(), BAD) == found


def test_errors_of_items_come_in_their_order() -> None:
    schema = {"type": "array", "items": {"type": "object", "required": ["b", "a"]}}
    assert [pointer for pointer, _ in errors_of(schema, [{}, 5, {"a": 1}])] == [
        "/0/b",
        "/0/a",
        "/1",
        "/2/b",
    ]


def test_an_error_is_a_value_error_and_ours_and_data() -> None:
    error = error_of(thing(), BAD)
    assert isinstance(error, ValueError)
    assert isinstance(error, OpenApiException)
    assert isinstance(error.errors, tuple)
    for detail in error.errors:
        assert isinstance(detail, ErrorDetail)
        assert detail.pointer == "".join(f"/{step}" for step in detail.path)
        assert detail.message
        assert "\n" not in detail.message
        assert detail.pointer not in detail.message or len(detail.pointer) < 2


def test_the_text_has_the_name_and_a_line_per_error_with_its_place() -> None:
    error = error_of(thing(), BAD)
    lines = str(error).splitlines()
    assert "Thing" in lines[0]
    assert str(len(WRONG)) in lines[0]
    assert len(lines) == 1 + len(WRONG)
    for detail in error.errors:
        assert any(detail.pointer in line and detail.message in line for line in lines[1:])


@pytest.mark.parametrize(
    ("schema", "value", "keyword", "words"),
    [
        ({"type": "string"}, 5, "type", ["string", "number", "5"]),
        ({"type": "object"}, [1, 2], "type", ["object", "array", "2 items"]),
        ({"type": "array"}, {"a": 1}, "type", ["array", "object", "1 key"]),
        ({"type": "number"}, "x", "type", ["number", "string", "'x'"]),
        ({"type": "integer"}, 1.5, "type", ["integer", "1.5"]),
        ({"type": "boolean"}, None, "type", ["boolean", "null"]),
        ({"type": "string", "nullable": True}, 1, "type", ["string", "null", "1"]),
        ({"type": "string"}, True, "type", ["string", "boolean"]),
        ({"type": "string"}, b"abc", "type", ["string", "3 bytes"]),
        ({"minimum": 3}, 2, "minimum", ["3", "2"]),
        ({"minimum": 3, "exclusiveMinimum": True}, 3, "minimum", ["above 3"]),
        ({"maximum": 3}, 4, "maximum", ["3", "4"]),
        ({"maximum": 3, "exclusiveMaximum": True}, 3, "maximum", ["below 3"]),
        ({"multipleOf": 0.5}, 0.7, "multipleOf", ["0.5", "0.7"]),
        ({"minLength": 3}, "ab", "minLength", ["3", "'ab'"]),
        ({"maxLength": 1}, "ab", "maxLength", ["1", "'ab'"]),
        ({"pattern": "^a"}, "b", "pattern", ["^a", "'b'"]),
        ({"format": "date-time"}, "today", "format", ["RFC 3339", "'today'"]),
        ({"format": "date"}, "today", "format", ["RFC 3339", "'today'"]),
        ({"format": "uuid"}, "x", "format", ["UUID", "'x'"]),
        ({"type": "integer", "format": "int32"}, 2**31, "format", ["32", "2147483648"]),
        ({"minItems": 2}, [1], "minItems", ["2", "1 item"]),
        ({"maxItems": 0}, [1], "maxItems", ["0", "1 item"]),
        ({"uniqueItems": True}, [1, 1], "uniqueItems", ["differ"]),
        ({"minProperties": 2}, {"a": 1}, "minProperties", ["2", "1 key"]),
        ({"maxProperties": 0}, {"a": 1}, "maxProperties", ["0", "1 key"]),
        ({"enum": ["a", 1, None]}, "b", "enum", ["'a'", "1", "'b'"]),
        ({"not": {"type": "string"}}, "a", "not", ["string", "'a'"]),
        ({"oneOf": [{}, {}]}, "a", "oneOf", ["exactly one", "'a'"]),
        ({"anyOf": [{"type": "string"}, {"type": "boolean"}]}, 1, "anyOf", ["string", "boolean"]),
        ({}, float("nan"), "type", ["finite", "nan"]),
        ({}, {1, 2}, "type", ["set"]),
    ],
)
def test_a_message_says_what_came_and_what_was_wanted(
    schema: dict[str, Any], value: Any, keyword: str, words: list[str]
) -> None:
    assert errors_of(schema, value) == [("", keyword)]
    message = message_of(schema, value)
    assert [word for word in words if word not in message] == [], message
    place = {"type": "object", "properties": {"a": {"type": "array", "items": schema}}}
    assert errors_of(place, {"a": [value]}) == [("/a/0", keyword)]


def test_pointers_are_escaped() -> None:
    """RFC 6901 section 3."""
    schema = {"additionalProperties": {"additionalProperties": {"type": "string"}}}
    assert errors_of(schema, {"a/b": {"~": 1, "": 2}}) == [("/a~1b/~0", "type"), ("/a~1b/", "type")]


def test_ten_levels_down() -> None:
    value: Any = 1
    schema: dict[str, Any] = {"type": "string"}
    for level in range(10):
        value = {"k": value} if level % 2 else [value]
        schema = {"properties": {"k": schema}} if level % 2 else {"items": schema}
    assert errors_of(schema, value) == [("/k/0/k/0/k/0/k/0/k/0", "type")]


@pytest.mark.parametrize("value", ["x" * 10_000, Decimal("1" * 5000), {"k" * 10: 1}, ["y" * 9999]])
def test_values_are_shown_shortened(value: Any) -> None:
    message = message_of({"type": "boolean"}, value)
    assert len(message) < 200


def test_very_long_keys_and_many_errors_stay_readable() -> None:
    error = error_of(make({"items": {"type": "string"}}), [1] * 5000)
    assert len(error.errors) == 5000
    assert len(str(error)) < 20_000


@pytest.mark.parametrize(("typo", "likely"), [("temprature", "temperature"), ("Status", "status")])
def test_an_unknown_key_of_a_closed_schema_names_the_likely_one(typo: str, likely: str) -> None:
    value = {"id": "id", "created_at": "2024-01-01T00:00:00Z", typo: 1}
    assert f"'{likely}'" in message_of(thing(), value)


def test_a_missing_key_names_the_likely_misspelling() -> None:
    schema = {"type": "object", "required": ["project_id"], "properties": {"project_id": {}}}
    assert "'projectid'" in message_of(schema, {"projectid": 1, "other": 2})
    assert "other" not in message_of(schema, {"other": 2})


def test_no_likely_key_is_invented() -> None:
    value = {"id": "id", "created_at": "2024-01-01T00:00:00Z", "zzzz": 1}
    message = message_of(thing(), value)
    assert not any(f"'{key}'" in message for key in THING["properties"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_the_nearest_branch_is_explained(keyword: str) -> None:
    near = {
        "type": "object",
        "required": ["type", "a", "b"],
        "properties": {"type": {"enum": ["near"]}, "a": {"type": "string"}, "b": {}},
    }
    far = {
        "type": "object",
        "required": ["type", "x", "y", "z"],
        "properties": {"type": {"enum": ["far"]}},
    }
    for branches in ([near, far], [far, near], [{"type": "string"}, far, near]):
        found = errors_of({keyword: branches}, {"type": "near", "a": 1, "b": 2})
        assert found == [("/a", "type")]


def test_a_value_of_no_branch_s_type_is_told_all_types() -> None:
    message = message_of({"oneOf": [{"type": "string"}, {"type": "array"}]}, 5)
    assert "string" in message
    assert "array" in message


SECRETS = [
    "sk-abcdefghijklmnop",
    "sk-proj-AbC_123-xyz456",
    "pk_live_0123456789",
    "hl_sk_0123456789",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_key_is_never_shown(secret: str) -> None:
    for text in (secret, f"the key {secret} leaked", f"{'x' * 30}, {secret}"):
        error = error_of(
            make({"type": "object", "additionalProperties": {"type": "number"}}), {"a": text}
        )
        assert secret not in f"{error}{error!r}{error.errors}"
        assert secret[-8:] not in f"{error}{error!r}{error.errors}"


@pytest.mark.parametrize(
    "key",
    [
        "api_key",
        "openai_api_key",
        "X-API-KEY",
        "apiKey",
        "password",
        "Authorization",
        "client_secret",
        "access_token",
        "provider_api_keys",
    ],
)
def test_values_under_secret_keys_are_never_shown(key: str) -> None:
    cls = make({"additionalProperties": {"type": "boolean"}})
    assert "plain4711" not in str(error_of(cls, {key: "plain4711"}))
    deep = make({"additionalProperties": {"additionalProperties": {"type": "boolean"}}})
    assert "plain4711" not in str(error_of(deep, {key: {"openai": "plain4711"}}))
    assert "4711" not in str(error_of(deep, {key: {"openai": 4711}}))


def test_a_key_is_not_shown_across_the_cut() -> None:
    for start in range(0, 130, 7):
        error = error_of(make({"type": "number"}), f"{'x ' * start}sk-abcdefghijklmnop")
        assert "sk-abcd" not in str(error)


@pytest.mark.parametrize("key", ["a\nb", "a\rb", "\x1b[31m", "\ud800", "\u2028"])
def test_hostile_keys_and_values_give_printable_lines(key: str) -> None:
    """One line an error, that can be written to a log in UTF-8."""
    cls = make({"properties": {}, "additionalProperties": False})
    for error in (error_of(cls, {key: 1}), error_of(make({"type": "number"}), key)):
        text = str(error)
        text.encode()
        assert len(text.splitlines()) == 2
        assert "\x1b" not in text
    assert error_of(cls, {key: 1}).errors[0].path == (key,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_pickle_and_copy(protocol: int) -> None:
    error = error_of(thing(), BAD)
    for again in (pickle.loads(pickle.dumps(error, protocol)), copy.deepcopy(error)):
        assert type(again) is SchemaValidationError
        assert again.errors == error.errors
        assert str(again) == str(error)


def test_errors_of_files_pickle(tmp_path: Any) -> None:
    (tmp_path / "f").write_bytes(b"")
    with (tmp_path / "f").open("rb") as file:
        pickle.dumps(error_of(StrSchema, file))


def test_the_traceback_shows_nothing_of_the_inside() -> None:
    """No other error stands before it, and no value of the input."""
    for value in (BAD, {"id": 1}, 5):
        error = error_of(thing(), value)
        text = "".join(traceback.format_exception(error))
        assert "During handling" not in text
        assert "direct cause" not in text


def test_errors_of_json_types_and_of_the_schema_come_together() -> None:
    found = errors_of(thing(), {"id": 1, "labels": [float("nan"), 5], 7: "x"})
    assert set(found) == {
        ("/id", "type"),
        ("/labels/0", "type"),
        ("/labels/1", "type"),
        ("/created_at", "required"),
        ("", "type"),
    }
    assert len(found) == 5


def test_a_value_without_errors_has_none() -> None:
    assert errors_of(AnyTypeSchema, {"a": [1]}) == []


def test_equal_values_at_different_places_are_each_explained() -> None:
    branch = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]}
    cls = make({"type": "array", "items": {"anyOf": [{"type": "number"}, branch]}})
    pointers = [pointer for pointer, _ in errors_of(cls, ["x", "x", {"a": 1}, {"a": 1}])]
    assert pointers == ["/0", "/1", "/2/b", "/2/a", "/3/b", "/3/a"]


def test_a_summary_is_one_line_that_fits_a_log() -> None:
    error = error_of(make({"type": "string", "maxLength": 3}, name="Code"), "abcdef")
    assert error.summary == "Code: (top level): " + error.errors[0].message
    many = error_of(make({"items": {"type": "string"}}), list(range(2000)))
    assert many.summary.endswith("(and 1,999 more)")
    value: Any = "x"
    for _ in range(150):
        value = [value]
    deep = error_of(make({"items": {"$ref": "#"}, "type": "array"}), value)
    assert deep.errors[0].pointer == "/0" * 150
    assert "/0.../0" in str(deep)
    for found in (deep, error_of(make({"additionalProperties": False}), {"k\n" * 500: 1})):
        assert "\n" not in found.summary
        assert len(found.summary) < 450


@pytest.mark.parametrize("rule", [{"maxLength": 3}, {"pattern": "^x"}, {"enum": ["a"]}])
def test_a_password_is_not_shown(rule: dict[str, Any]) -> None:
    """OpenAPI 3.0.3, Data Types: "A hint to UIs to obscure input"."""
    schema = {"properties": {"p": {"type": "string", "format": "password", **rule}}}
    for cls in (make(schema), make({"anyOf": [schema, {"type": "string"}]})):
        error = error_of(cls, {"p": "hunter2"})
        assert "hunter2" not in f"{error} {error!r} {error.errors}"
        assert "not shown" in str(error)


def test_the_choice_of_a_branch_is_told_with_those_that_come_next() -> None:
    schema = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in "ABC"]}
    keys = {"A": ["a", "b", "c"], "B": ["a", "b"], "C": ["z"]}
    parts = {
        name: {"type": "object", "required": some, "properties": {key: {} for key in some}}
        for name, some in keys.items()
    }
    error = error_of(make(schema, **parts), {"a": 1})
    assert [(e.pointer, e.keyword) for e in error.errors] == [("/b", "required")]
    assert "(closest branch of anyOf: B; next: A, C)" in str(error)


def test_a_branch_that_knows_none_of_the_keys_comes_last() -> None:
    role = {"type": "object", "properties": {"role": {"enum": ["user", "system"]}}}
    ids = {"type": "object", "required": ["ids"], "properties": {"ids": {"type": "array"}}}
    chat = {"type": "object", "properties": {"chat": {"type": "array", "items": role}}}
    cls = make({"anyOf": [ids, chat]})
    for value, pointer in (
        ({"chat": [{"role": "wizard"}]}, "/chat/0/role"),
        ({"chat": [{"role": "wizard"}], "more": 1}, "/chat/0/role"),
        ({"ids": 1, "chat": [{"role": "wizard"}]}, "/ids"),
    ):
        assert [error.pointer for error in error_of(cls, value).errors] == [pointer]


@pytest.mark.parametrize("keyword", ["allOf", "anyOf"])
def test_very_many_errors_are_told_up_to_a_limit(keyword: str) -> None:
    items = {"type": "array", "items": {"type": "object", "required": ["a"]}}
    schema = {keyword: [items]} if keyword == "allOf" else {keyword: [items, {"type": "object"}]}
    error = error_of(make(schema), [{}] * 100_010)
    assert len(error.errors) == 100_001
    assert error.errors[-1].message == "there are more errors than can be reported"
