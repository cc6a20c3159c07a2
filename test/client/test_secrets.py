"""A sweep: keys that the client knows show nowhere but on the wire."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from humanloop import Configuration, Humanloop
from humanloop.apis.operations import CHATS_CREATE

SECRET = "zq9Secret"
PROVIDERS = (
    "openai",
    "openai_azure",
    "openai_azure_endpoint",
    "ai21",
    "mock",
    "anthropic",
    "cohere",
)
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "model_config": {"model": "gpt-4"},
    "provider_api_keys": {"openai": f"{SECRET}-own"},
}


@pytest.fixture
def client(server: Any) -> Humanloop:
    keys: Any = {f"{name}_api_key": f"{SECRET}-{name}" for name in PROVIDERS}
    return Humanloop(api_key=f"{SECRET}-hl", host=server.host, timeout=10, **keys)


def nothing_shows(*values: object) -> None:
    for value in values:
        for text in (str(value), repr(value), f"{value}", ascii(value)):
            assert SECRET not in text


def test_objects(client: Humanloop, server: Any) -> None:
    request = client.api_client.prepare(CHATS_CREATE, CHAT)
    assert SECRET.encode() in (request.body or b"")
    assert SECRET in request.headers["X-API-KEY"]
    server.answer({"id": "s"})
    response = client.sessions.create()
    nothing_shows(
        client,
        client.configuration,
        copy.deepcopy(client.configuration),
        client.configuration.to_debug_report(),
        client.api_client,
        client.api_client.transport,
        client.chats,
        request,
        request.headers,
        response,
        response.headers,
        response.response,
    )


def test_a_proxy_password_does_not_show() -> None:
    configuration = Configuration(api_key="k", proxy=f"http://user:{SECRET}@proxy.example:1")
    nothing_shows(configuration)


def test_logs(client: Humanloop, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.chat(**CHAT, skip_deserialization=True)
    assert SECRET in server.requests[0].body.decode()
    assert len(caplog.records) >= 2
    nothing_shows(caplog.text, *caplog.records)


def answered(body: Any, status: int) -> Callable[[Any], None]:
    return lambda server: server.answer(body, status=status)


@pytest.mark.parametrize(
    "prepare",
    [
        answered({"detail": "no"}, 401),
        answered({"detail": [{"loc": ["body"], "msg": f"bad key {SECRET}-hl"}]}, 422),
        answered(f"who is {SECRET}-openai_azure?".encode(), 500),
        answered({"data": f"{SECRET}-hl"}, 200),
        answered(f"no JSON: {SECRET}-hl".encode(), 200),
        lambda server: server.send_raw(b""),
        lambda server: server.send_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"),
        lambda server: server.close(),
    ],
    ids=["401", "422 echo", "500 echo", "wrong schema", "no JSON", "dropped", "cut", "refused"],
)
def test_errors(prepare: Callable[[Any], None], client: Humanloop, server: Any) -> None:
    prepare(server)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is
        client.chat(**CHAT)
    nothing_shows(caught.value)
    if not getattr(caught.value, "body", None):  # else the server itself told the key
        nothing_shows("".join(traceback.format_exception(caught.value)))
        assert SECRET.encode() not in pickle.dumps(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"provider_api_keys": {"openai": 5, "mock": f"{SECRET}-own"}},
        {"provider_api_keys": f"{SECRET}-own"},
        {"provider_api_keys": [f"{SECRET}-own"]},
        {"messages": "none"},
        {"unknown_key": 1},
    ],
)
def test_bad_arguments(change: dict[str, Any], client: Humanloop) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is
        client.chat(**{**CHAT, **change})
    nothing_shows(caught.value)
    nothing_shows("".join(traceback.format_exception(caught.value)))


def test_redirects_carry_no_key(client: Humanloop, server: Any) -> None:
    server.answer(status=307, Location="http://127.0.0.1:9/elsewhere")
    with pytest.raises(Exception, match="307"):
        client.chat(**CHAT)
    assert len(server.requests) == 1
