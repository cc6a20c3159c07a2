"""`bodies="plain"`: validated bodies as dict, list, str, int, float, bool and None."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from humanloop import (
    ApiResponseValidationError,
    ApiValueError,
    ClientConfigurationError,
    Configuration,
    Humanloop,
    NotFoundError,
    ResponseValidationWarning,
    schemas,
)
from humanloop.apis.operations import OPERATIONS, PROJECTS_LIST
from humanloop.http import Headers, RawResponse
from humanloop.operation import Operation
from humanloop.server import EmbeddedServer
from humanloop.testing import TestTransport, sample

# What a decoded body may be made of; a subclass, such as `IntSchema`, is none of them.
PLAIN = {dict, list, str, int, float, bool, type(None)}
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "model_config": {"model": "gpt-4"},
}
EVENT = {
    "data": [
        {
            "id": "data_1",
            "index": 0,
            "output": "Hi",
            "raw_output": "Hi",
            "inputs": {"n": [0.5, 1, True, None]},
            "model_config_id": "config_1",
        }
    ],
    "provider_responses": [{"seed": 7, "top_p": 0.25}],
}
LOG = {
    "id": "data_1",
    "config": {
        "id": "config_1",
        "type": "model",
        "model": "gpt-4",
        "temperature": 0.7,
        "max_tokens": -1,
        "other": {"limit": 1e22, "big": 12345678901234567890, "zero": 0.0},
    },
    "inputs": {"nested": [[], {}, [{"deep": False}]]},
    "metadata": {"tags": ["a", "b"], "score": 1.0, "none": None},
    "duration": 0.25,
}


def types_in(value: Any) -> set[type]:
    """The types of a value, its keys and all its parts."""
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    found = {type(value)}
    if isinstance(value, (dict, list, tuple)):
        for part in parts:
            found |= types_in(part)
    return found


@pytest.fixture
def plain(caller: Any, server: Any) -> Humanloop:
    client: Humanloop = caller.client(server.host, bodies="plain")
    return client


def page(number: int) -> dict[str, Any]:
    record = {"id": f"sesh_{number}", "projects": [], "datapoints_count": 4}
    record["created_at"] = "2024-02-29T12:30:15Z"
    return {"page": number, "size": 1, "total": 2, "records": [record]}


@pytest.mark.parametrize("where", ["client", "configuration", "copy", "call"])
def test_a_body_is_what_json_has(where: str, caller: Any, server: Any) -> None:
    server.answer(LOG)
    options: dict[str, Any] = {}
    if where == "client":
        client = caller.client(server.host, bodies="plain")
    elif where == "configuration":
        client = Humanloop(Configuration(server.host, "k", bodies="plain"))
        caller.clients.append(client)
    elif where == "copy":
        client = caller.client(server.host).with_options(bodies="plain")
    else:
        client, options = caller.client(server.host), {"bodies": "plain"}
    body = caller(client.logs.update, "data_1", output="x", **options).body
    assert body == LOG
    assert json.dumps(body) == json.dumps(LOG)  # the order and the type of each number as well
    assert types_in(body) == PLAIN
    body["metadata"]["tags"].append("c")
    again = caller(client.logs.update, "data_1", output="x", **options).body
    assert again["metadata"]["tags"] == ["a", "b"]


def test_the_option_of_a_call_goes_before_the_setting(plain: Any, caller: Any, server: Any) -> None:
    server.answer(LOG)
    typed = caller(plain.logs.update, "data_1", output="x", bodies="models").body
    assert typed.duration == 0.25
    back = plain.with_options(bodies="models")
    assert caller(back.logs.update, "data_1", output="x").body == typed
    assert (plain.configuration.bodies, back.configuration.bodies) == ("plain", "models")
    assert Configuration(api_key="k").bodies == "models"


def test_a_body_is_validated_all_the_same(plain: Humanloop, caller: Any, server: Any) -> None:
    server.answer({**LOG, "duration": "long"})
    with pytest.raises(ApiResponseValidationError, match="duration") as caught:
        caller(plain.logs.update, "data_1", output="x")
    assert json.loads(caught.value.body)["duration"] == "long"
    lenient = plain.with_options(response_validation="lenient")
    with pytest.warns(ResponseValidationWarning):
        body = caller(lenient.logs.update, "data_1", output="x").body
    assert (type(body), body["duration"]) == (dict, "long")


def test_drift_is_reported(plain: Humanloop, caller: Any, server: Any) -> None:
    server.answer({"id": "sesh_1", "mood": "good"})
    reports: list[Any] = []
    client = plain.with_options(on_drift=reports.append)
    assert caller(client.sessions.create).body == {"id": "sesh_1", "mood": "good"}
    assert [finding.pointer for finding in reports[0].findings] == ["/mood"]


def test_the_body_of_an_error_is_plain(plain: Humanloop, caller: Any, server: Any) -> None:
    server.answer({"detail": {"code": 4, "ratio": 0.5}}, status=404)
    with pytest.raises(NotFoundError) as caught:
        caller(plain.projects.get, "pr_1")
    assert caught.value.body == {"detail": {"code": 4, "ratio": 0.5}}
    assert types_in(caught.value.body) == {dict, str, int, float}


def test_events_are_plain(plain: Humanloop, caller: Any, server: Any) -> None:
    for content_type in ("text/event-stream", "application/json"):
        text = json.dumps(EVENT)
        event = f"data: {text}\n\n" if "event" in content_type else text
        server.answer(event.encode(), Content_Type=content_type)
        for method in (plain.chat, plain.chats.create):
            (found,) = caller.all(caller(method, **CHAT, stream=True))
            assert found == EVENT
            assert types_in(found) == PLAIN


def test_the_streams_of_0_5(server: Any) -> None:
    server.answer(f"data: {json.dumps(EVENT)}\n\n".encode(), Content_Type="text/event-stream")

    async def main(**options: Any) -> list[Any]:
        async with Humanloop("k", server.host, bodies="plain") as client:
            response = await client.chat_stream(**CHAT, **options)
            return [piece async for piece in response.content]

    for options in ({}, {"bodies": "plain"}):
        found = asyncio.run(main(**options))
        assert found == [{"output": "Hi", "id": "data_1"}]
        assert types_in(found) == {list, dict, str}


def test_records_of_pages_are_plain(plain: Humanloop, caller: Any, server: Any) -> None:
    def answer(request: Any, connection: Any) -> None:
        number = int(request.query.partition("page=")[2].partition("&")[0])
        server.answer(page(number))
        reply, server.reply = server.reply, answer
        reply(request, connection)

    server.reply = answer
    client = caller.client(server.host)
    for paging, options in ((plain, {}), (client, {"bodies": "plain"})):
        name = "aiterate_list" if caller.kind == "async" else "iterate_list"
        iterator = getattr(paging.sessions, name)("pr_1", **options)
        records = caller.all(iterator)
        assert records == [*page(1)["records"], *page(2)["records"]]
        assert types_in(records) == {list, dict, str, int}


def test_shortcuts_and_lists(plain: Humanloop, caller: Any, server: Any) -> None:
    server.answer([])
    item: Any = {"type": "rating", "value": "good", "data_id": "data_1"}
    for method in (plain.feedback, plain.feedback_api.feedback):
        assert type(caller(method, body=[item]).body) is list
    server.answer({"id": "data_1", "project_id": "pr_1"})
    assert type(caller(plain.log, project="p", output="x").body) is dict


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation(operation: Operation) -> None:
    answer = sample(operation)
    if answer is None:
        return
    client = Humanloop("k", bodies="plain").api_client
    request = client.prepare(PROJECTS_LIST, {})
    headers = Headers({"Content-Type": "application/json"})
    response = RawResponse(200, "OK", headers, json.dumps(answer).encode(), 0.1)
    body = client.finish(operation, request, response).body
    assert json.dumps(body) == json.dumps(answer)
    assert types_in(body) <= PLAIN


def test_nothing_to_hand_out(plain: Humanloop, caller: Any, server: Any) -> None:
    server.answer(status=204)
    response = caller(plain.experiments.delete, "exp_1")
    assert (response.status, response.body) == (204, schemas.unset)


@pytest.mark.parametrize("where", ["client", "copy", "call"])
def test_skipping_is_a_setting_too(where: str, caller: Any, server: Any) -> None:
    server.answer({"id": 5, "mean": 0.5})
    client, options = caller.client(server.host), {"skip_deserialization": True}
    if where == "client":
        client, options = caller.client(server.host, **options), {}
    elif where == "copy":
        client, options = client.with_options(**options), {}
    assert caller(client.sessions.create, **options).body == {"id": 5, "mean": 0.5}
    with pytest.raises(ApiResponseValidationError):
        caller(client.sessions.create, skip_deserialization=False)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("bodies", "dict", 'bodies must be "models" or "plain", not \'dict\''),
        ("bodies", None, 'bodies must be "models" or "plain", not None'),
        ("bodies", ["plain"], 'bodies must be "models" or "plain", not'),
        ("skip_deserialization", "no", "skip_deserialization must be True or False, not 'no'"),
    ],
)
def test_another_value_is_refused_where_it_is_given(name: str, value: Any, wanted: str) -> None:
    option: Any = {name: value}
    client = Humanloop("k", transport=TestTransport())
    configuration = Configuration(api_key="k")
    for give in (
        lambda: Humanloop("k", **option),
        lambda: client.with_options(**option),
        lambda: setattr(configuration, name, value),
    ):
        with pytest.raises(ClientConfigurationError, match=wanted):
            give()
    with pytest.raises(ApiValueError, match=rf"^projects\.list\(\): {wanted}"):
        client.projects.list(**option)


def test_a_program_of_0_5_runs_unchanged() -> None:
    program = Path(__file__).with_name("program_of_0_5.py")
    with EmbeddedServer() as server:
        run = [sys.executable, str(program), server.url, server.api_key, '{"bodies": "plain"}']
        done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    steps = done.stdout.splitlines()
    assert [int(line.split()[0]) for line in steps] == list(range(1, 46))
    assert "17 0.7999999999999999 1.4 0.700 0.7" in steps  # in Python's own floats
