"""Each of the 54 operations on the wire, against what openapi.yaml alone says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from humanloop import Humanloop, RetryPolicy
from humanloop.apis.operations import OPERATIONS

DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "openapi.yaml").read_text("utf-8"))
TEXT = "ünï/cödé & 100%? #1+1"
PROVIDER_KEYS = {
    "openai": "sk-openai",
    "openai_azure": "azure-key",
    "openai_azure_endpoint": "https://azure.example",
    "ai21": "ai21-key",
    "mock": "mock-key",
    "anthropic": "anthropic-key",
    "cohere": "cohere-key",
}


class Expected:
    """One operation as the document describes it."""

    def __init__(self, method: str, path: str, item: dict[str, Any]) -> None:
        self.method = method.upper()
        self.path = path
        self.parameters = item.get("parameters", [])
        content = item.get("requestBody", {}).get("content", {})
        self.body_schema = content.get("application/json", {}).get("schema")
        self.id = f"{self.method} {path}"

    def arguments(self, full: bool) -> dict[str, Any]:
        """Path and query arguments."""
        return {
            p["name"]: sample(p["schema"], full)
            for p in self.parameters
            if full or p.get("required")
        }

    def bodies(self, full: bool) -> Iterator[Any]:
        """A body for each branch of the body's schema."""
        schema = resolved(self.body_schema)
        for branch in schema.get("anyOf", [schema]):
            yield sample(branch, full)

    def target(self, arguments: dict[str, Any]) -> str:
        path, query = self.path, []
        for parameter in self.parameters:
            name = parameter["name"]
            if parameter["in"] == "path":
                path = path.replace(f"{{{name}}}", quote(arguments[name], safe=""))
            elif name in arguments:
                value = arguments[name]
                text = json.dumps(value) if isinstance(value, (bool, int)) else quote(value)
                query.append(f"{name}={text}")
        return f"/v4{path}" + ("?" + "&".join(query) if query else "")

    @property
    def provider_keys(self) -> bool:
        schema = resolved(self.body_schema) if self.body_schema else {}
        return "provider_api_keys" in schema.get("properties", {})


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def sample(schema: dict[str, Any], full: bool) -> Any:
    """A value that fits: with every optional key, or with none."""
    schema = resolved(schema)
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            return sample(schema[keyword][0], full)
    kind = schema.get("type")
    if "enum" in schema:
        return schema["enum"][-1]
    if kind == "object":
        properties = schema.get("properties", {})
        if not properties:
            return {"ключ": sample(schema.get("additionalProperties") or {}, full)}
        required = schema.get("required", [])
        return {k: sample(v, full) for k, v in properties.items() if full or k in required}
    if kind == "array":
        return [sample(schema["items"], full), sample(schema["items"], full)]
    if kind == "string" and schema.get("format") == "date-time":
        return "2024-02-29T12:30:00Z"
    scalars = {"string": TEXT, "boolean": True, "integer": 3, "number": 0.1}
    return scalars.get(kind or "", ["any", 1, None, {"nested": 0.25}])


EXPECTED = [
    Expected(method, path, item)
    for path, methods in DOCUMENT["paths"].items()
    for method, item in methods.items()
    if method in ("get", "post", "patch", "delete", "put")
]
BY_PLACE = {(operation.method, operation.path): operation for operation in OPERATIONS}


def method_of(client: Humanloop, expected: Expected) -> Any:
    tag, name = BY_PLACE[expected.method, expected.path].name.split(".")
    return getattr(getattr(client, tag), name)


def call(
    client: Humanloop, expected: Expected, full: bool, caller: Any = None
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Call with each kind of body, by keys and as a whole; yields arguments and expected body.

    caller: what calls the method, such as by its asynchronous twin.
    """
    arguments = expected.arguments(full)
    method = method_of(client, expected)
    if caller is not None:
        method = partial(caller, method)
    if expected.body_schema is None:
        method(**arguments, skip_deserialization=True)
        yield arguments, None
        return
    for body in expected.bodies(full):
        method(**arguments, body=body, skip_deserialization=True)
        yield arguments, body
        if isinstance(body, dict):
            keys = {"_class" if key == "class" else key: value for key, value in body.items()}
            method(**arguments, **keys, skip_deserialization=True)
            yield arguments, body


def encoded(body: Any) -> bytes:
    if body is None:
        return b""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_document_and_the_client_have_the_same_operations() -> None:
    assert len(EXPECTED) == 54
    assert {(e.method, e.path) for e in EXPECTED} == set(BY_PLACE)


@pytest.mark.parametrize("full", [True, False], ids=["full", "minimal"])
@pytest.mark.parametrize("expected", EXPECTED, ids=lambda e: e.id)
def test_request(expected: Expected, full: bool, server: Any, client: Humanloop) -> None:
    for arguments, body in call(client, expected, full):
        request = server.requests.pop()
        assert request.method == expected.method
        assert request.target == expected.target(arguments)
        assert request.body == encoded(body)
        headers = dict(request.headers)
        assert headers.pop("X-API-KEY") == "hl-key"
        assert headers.pop("Accept") == "application/json"
        assert headers.pop("User-Agent").startswith("humanloop-python/0.6.0 (")
        assert headers.pop("Host") == f"127.0.0.1:{server.port}"
        assert headers.pop("Accept-Encoding") == "identity"
        length = headers.pop("Content-Length", None)
        if body is None:
            assert length in (None, "0")
        else:
            assert headers.pop("Content-Type") == "application/json"
            assert length == str(len(request.body))
        assert headers == {}


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda e: e.id)
def test_both_ways_put_the_same_bytes_on_the_wire(
    expected: Expected, server: Any, asynchronous_caller: Any
) -> None:
    """All of them: the order and the case of the headers, too, since both go to the same port."""
    keys: Any = {f"{name}_api_key": key for name, key in PROVIDER_KEYS.items()}
    client = asynchronous_caller.client(server.host, **keys)
    for full in (True, False):
        count = sum(1 for _ in call(client, expected, full))
        sent = [request.raw for request in server.requests]
        server.requests.clear()
        assert sum(1 for _ in call(client, expected, full, asynchronous_caller)) == count
        assert [request.raw for request in server.requests] == sent
        assert len(sent) == count
        server.requests.clear()
    assert server.connections == 2


def test_what_is_sent_again_is_the_same_both_ways(server: Any, asynchronous_caller: Any) -> None:
    client = asynchronous_caller.client(server.host)
    sent: list[list[bytes]] = []
    for caller in (lambda method, **options: method(**options), asynchronous_caller):
        server.requests.clear()
        server.answer_in_turn(503, b"", 200)
        policy = RetryPolicy(backoff=0.001)
        caller(client.projects.list, skip_deserialization=True, retries=policy)
        sent.append([request.raw for request in server.requests])
    assert sent[0] == sent[1]
    assert len(sent[0]) == 3


@pytest.mark.parametrize("full", [True, False], ids=["full", "minimal"])
@pytest.mark.parametrize("expected", EXPECTED, ids=lambda e: e.id)
def test_provider_keys_go_only_where_they_belong(
    expected: Expected, full: bool, server: Any
) -> None:
    keys: Any = {f"{name}_api_key": key for name, key in PROVIDER_KEYS.items()}
    with Humanloop(api_key="hl-key", host=server.host, timeout=10, **keys) as client:
        for _, body in call(client, expected, full):
            sent = server.requests.pop()
            if expected.provider_keys:
                own = body.get("provider_api_keys", {})
                assert sent.json == {**body, "provider_api_keys": {**PROVIDER_KEYS, **own}}
            else:
                assert sent.body == encoded(body)
