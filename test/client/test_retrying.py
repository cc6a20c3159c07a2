"""What a call, a client and a copy of one may be told: retries, hooks, validation, reports.

Every scenario runs by the synchronous and by the asynchronous call.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import shlex
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from client.limits import run_out

import humanloop
from humanloop import Humanloop, RetryPolicy
from humanloop.drift import DriftReport
from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    ApiResponseDecodingError,
    ApiResponseValidationError,
    ApiTimeoutError,
    ApiTypeError,
    ApiValueError,
    ClientConfigurationError,
    ResponseValidationWarning,
    SchemaValidationError,
    ServiceUnavailableError,
)
from humanloop.http import Headers
from humanloop.transport import RawResponse, Request

ONCE = RetryPolicy(attempts=1)
FAST = RetryPolicy(backoff=0.001)
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "model_config": {"model": "gpt-4"},
}


def listing(caller: Any, client: Humanloop, **options: Any) -> Any:
    return caller(client.projects.list, skip_deserialization=True, **options)


# --- retries ---


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (1, 2), (RetryPolicy(4, 0.001), 4)])
@pytest.mark.parametrize("where", ["client", "call", "copy"])
def test_how_often(where: str, retries: Any, tries: int, caller: Any, server: Any) -> None:
    # The server says when to come back, so that no wait is left to chance.
    server.answer(status=503, Retry_After="0")
    client = caller.client(server.host, retries=retries if where == "client" else 7)
    if where == "copy":
        client = client.with_options(retries=retries)
    with pytest.raises(ServiceUnavailableError) as caught:
        listing(caller, client, **({"retries": retries} if where == "call" else {}))
    assert len(server.requests) == caught.value.tries == tries


def test_two_retries_unless_told_otherwise(caller: Any, server: Any) -> None:
    server.answer(status=429, Retry_After="0")
    with pytest.raises(ApiException):
        listing(caller, caller.client(server.host))
    assert len(server.requests) == 3


def test_a_policy_says_what_is_tried_again(caller: Any, server: Any) -> None:
    only = RetryPolicy(backoff=0.001, statuses=frozenset({404}), faults=frozenset())
    client = caller.client(server.host, retries=only)
    for reply, tries in ((404, 3), (503, 1), (b"", 1)):
        server.requests.clear()
        server.answer_in_turn(reply)
        with pytest.raises((ApiException, ApiConnectionError)):
            listing(caller, client)
        assert len(server.requests) == tries


@pytest.mark.parametrize("retries", [-1, "2", 1.5, True])
def test_no_number_of_retries(retries: Any, caller: Any, server: Any) -> None:
    with pytest.raises(ApiValueError, match=r"^projects\.list\(\): retries must be"):
        listing(caller, caller.client(server.host), retries=retries)
    assert server.requests == []


# --- hooks ---


def hooked(caller: Any, function: Any) -> Any:
    """A hook as the driver has it: a coroutine function for asynchronous calls."""
    if caller.kind == "sync":
        return function

    async def hook(*arguments: Any) -> Any:
        await asyncio.sleep(0)
        return function(*arguments)

    return hook


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "as the call"])
def test_hooks_are_called_for_each_try(plain: bool, caller: Any, server: Any) -> None:
    seen: list[Any] = []

    def note(event: str) -> Any:
        def hook(*arguments: Any) -> None:
            seen.append((event, *arguments))

        return hook if plain else hooked(caller, hook)

    hooks = {event: [note(event)] for event in ("request", "response", "error")}
    client = caller.client(server.host, retries=FAST, event_hooks=hooks)
    server.answer_in_turn(503, b"", 200)
    listing(caller, client)
    assert [event for event, *_ in seen] == [
        "request",
        "response",
        "request",
        "error",
        "request",
        "response",
    ]
    assert all(isinstance(arguments[0], Request) for _, *arguments in seen)
    assert [a[1].status for event, *a in seen if event == "response"] == [503, 200]
    assert all(isinstance(a[1], RawResponse) for event, *a in seen if event == "response")
    (error,) = (a[1] for event, *a in seen if event == "error")
    assert type(error) is ApiConnectionError
    assert (error.tries, error.host) == (2, server.host)
    assert error.elapsed > 0


def test_a_hook_may_replace_the_request(caller: Any, server: Any) -> None:
    count = 0

    def sign(request: Request) -> Request:
        nonlocal count
        count += 1
        headers = Headers([*request.headers.items(), ("X-Signature", str(count))])
        return dataclasses.replace(request, headers=headers, path="/elsewhere")

    def check(request: Request) -> None:
        assert request.headers["X-Signature"] == str(count)

    hooks = {"request": [hooked(caller, sign), hooked(caller, check)]}
    client = caller.client(server.host, retries=FAST, event_hooks=hooks)
    server.answer_in_turn(503, 503, 200)
    listing(caller, client)
    assert [r.headers["X-Signature"] for r in server.requests] == ["1", "2", "3"]
    assert {r.headers["X-API-KEY"] for r in server.requests} == {"hl-key"}
    assert {r.path for r in server.requests} == {"/v4/elsewhere"}
    server.answer(status=404)
    with pytest.raises(ApiException) as caught:
        listing(caller, client)
    assert caught.value.path == "/elsewhere"  # where it was sent in fact


@pytest.mark.parametrize(
    "changed",
    [
        lambda headers: Headers({**headers, "X-Own": "1"}),
        lambda headers: Headers(dict(headers.items()) | {"X-Own": "1"}),
        lambda headers: {**headers.reveal(), "x-own": "1"},
        lambda headers: dict(headers.items()) | {"X-OWN": "1"},
    ],
)
def test_a_hook_may_make_the_headers_in_any_way(changed: Any, caller: Any, server: Any) -> None:
    def change(request: Request) -> Request:
        return dataclasses.replace(request, headers=changed(request.headers))

    hooks = {"request": [hooked(caller, change)]}
    client = caller.client(server.host, event_hooks=hooks)
    own = {"Authorization": "Bearer own-token", "X-Pass": "***"}
    for key in ("hl-key", "***"):
        client.configuration.api_key["APIKeyHeader"] = key
        caller(client.projects.list, extra_headers=own, skip_deserialization=True)
        sent = {name.lower(): value for name, value in server.requests[-1].headers.items()}
        assert [sent[n] for n in ("x-own", "x-api-key", "authorization", "x-pass")] == [
            "1",
            key,
            "Bearer own-token",
            "***",
        ]


def test_a_hook_that_returns_something_else(caller: Any, server: Any) -> None:
    client = caller.client(server.host, event_hooks={"request": [lambda request: {"no": 1}]})
    with pytest.raises(ApiTypeError, match="must return a Request or None, not dict"):
        listing(caller, client)
    assert server.requests == []


def test_the_time_that_hooks_take_counts(caller: Any, server: Any) -> None:
    timeouts: list[float | None] = []

    def think(request: Request) -> None:
        threading.Event().wait(0.03)
        timeouts.append(request.timeout)

    def call(timeout: float) -> ApiTimeoutError:
        timeouts.clear()
        with pytest.raises(ApiTimeoutError) as caught:
            listing(caller, client, timeout=timeout)
        return caught.value

    client = caller.client(server.host, event_hooks={"request": [hooked(caller, think)] * 2})
    server.reply = server.hanging()
    expected = "no complete answer within * seconds (while waiting for the answer)"
    seconds, error = run_out(expected, call, "timeout")
    assert error.tries == 1
    assert timeouts[0] == seconds
    assert timeouts[1] is not None
    assert timeouts[1] <= seconds - 0.03


@pytest.mark.parametrize("event", ["request", "response", "error"])
def test_an_asynchronous_hook_that_hangs_ends_with_the_call(event: str, server: Any) -> None:
    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    async def main(timeout: float) -> None:
        async with Humanloop("k", server.host, retries=FAST, event_hooks={event: [hang]}) as client:
            await client.projects.alist(timeout=timeout, skip_deserialization=True)

    def call(timeout: float) -> ApiTimeoutError:
        server.requests.clear()
        server.answer_in_turn(b"" if event == "error" else 200)
        with pytest.raises(ApiTimeoutError) as caught:
            asyncio.run(main(timeout), debug=True)
        return caught.value

    doing = f"in the event hook {hang.__qualname__}"
    expected = f"no complete answer within {{}} seconds (while {doing})"
    seconds, error = run_out(expected, call, "timeout")
    assert error.elapsed is not None
    assert error.elapsed < seconds + 10
    assert error.sent == (event != "request")
    assert error.tries == 1
    assert len(server.requests) == (0 if event == "request" else 1)


def test_nothing_is_sent_after_a_hook_that_took_too_long(caller: Any, server: Any) -> None:
    def think(request: Request) -> None:
        assert request.timeout is not None
        threading.Event().wait(request.timeout + 0.1)

    client = caller.client(server.host, event_hooks={"request": [think]})

    def call(timeout: float) -> ApiTimeoutError:
        with pytest.raises(ApiTimeoutError) as caught:
            listing(caller, client, timeout=timeout)
        return caught.value

    doing = f"in the event hook {think.__qualname__}"
    expected = f"no complete answer within {{}} seconds (while {doing})"
    _, error = run_out(expected, call, "timeout")
    assert not error.sent
    assert server.requests == []


def test_an_answer_is_not_thrown_away_for_a_slow_hook(caller: Any, server: Any) -> None:
    def think(*_: Any) -> None:
        threading.Event().wait(0.6)

    client = caller.client(server.host, event_hooks={"response": [think]})
    assert listing(caller, client, timeout=0.5).status == 200
    assert len(server.requests) == 1


def test_a_timeout_error_of_a_hook_comes_out(caller: Any, server: Any) -> None:
    def fail(*_: Any) -> None:
        raise TimeoutError("of the hook")

    client = caller.client(server.host, event_hooks={"request": [hooked(caller, fail)]})
    with pytest.raises(TimeoutError, match=r"^of the hook$"):
        listing(caller, client)


def test_the_error_hooks_of_a_late_call_have_time(server: Any) -> None:
    told: list[Any] = []

    async def tell(request: Request, error: Any) -> None:
        await asyncio.sleep(0.01)
        told.append(error)

    async def main() -> None:
        async with Humanloop("k", server.host, event_hooks={"error": [tell]}) as client:
            await client.projects.alist(timeout=0.1)

    server.reply = server.hanging()
    with pytest.raises(ApiTimeoutError) as caught:
        asyncio.run(main())
    assert told == [caught.value]


@pytest.mark.parametrize("event", ["request", "response", "error"])
def test_what_a_hook_raises_comes_out(event: str, caller: Any, server: Any) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("hook")

    client = caller.client(server.host, retries=FAST, event_hooks={event: [hooked(caller, fail)]})
    server.answer_in_turn(b"" if event == "error" else 503)
    with pytest.raises(KeyError, match="hook"):
        listing(caller, client)
    assert len(server.requests) == (0 if event == "request" else 1)


@pytest.mark.parametrize("event", ["request", "response", "error"])
def test_a_coroutine_hook_needs_an_asynchronous_call(event: str, server: Any) -> None:
    called: list[Any] = []

    async def hook(*arguments: Any) -> None:
        called.append(arguments)

    class Hook:
        async def __call__(self, *arguments: Any) -> None:
            called.append(arguments)

    server.answer_in_turn(b"" if event == "error" else 200)
    for each in (hook, functools.partial(hook, 1), Hook(), Hook().__call__):
        with (
            Humanloop("k", server.host, retries=0, event_hooks={event: [each]}) as client,
            pytest.raises(ApiTypeError, match="asynchronous calls"),
        ):
            client.projects.list()
    assert (called, server.requests) == ([], [])


# --- copies ---


def test_a_copy_shares_connections_and_changes_nothing(caller: Any, server: Any) -> None:
    server.answer({"id": 5})
    client = caller.client(server.host, retries=0)
    before = dict(vars(client.configuration))
    copy = client.with_options(
        headers={"X-Team": "blue", "x-trace": "1"}, timeout=3, response_validation="lenient"
    )
    again = copy.with_options(headers={"X-Trace": "2"}, retries=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResponseValidationWarning)
        assert caller(copy.sessions.create).body == {"id": 5}
        assert caller(again.sessions.create).body == {"id": 5}
    with pytest.raises(ApiResponseValidationError):
        caller(client.sessions.create)
    traces = [r.headers.get("x-trace", r.headers.get("X-Trace")) for r in server.requests]
    assert traces == ["1", "2", None]
    assert [r.headers.get("X-Team") for r in server.requests] == ["blue", "blue", None]
    assert vars(client.configuration) == before
    assert (copy.configuration.timeout, copy.configuration.retries) == (3, 0)
    assert (again.configuration.timeout, again.configuration.retries) == (3, 5)
    assert server.connections == 1
    assert type(copy) is Humanloop
    assert copy.api_client.default_headers["X-Team"] == "blue"
    assert "X-Team" not in client.api_client.default_headers


def test_a_copy_made_before_and_after_the_first_call(caller: Any, server: Any) -> None:
    client = caller.client(server.host)
    early = client.with_options(timeout=3)
    listing(caller, client)
    for each in (client, early, client.with_options(timeout=4)):
        assert each.projects.api_client is each.api_client
        listing(caller, each)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"timeout": -1}, ClientConfigurationError),
        ({"retries": "x"}, ClientConfigurationError),
        ({"event_hooks": {"sent": []}}, ClientConfigurationError),
        ({"host": "http://other"}, ApiTypeError),
        ({"timout": 1}, ApiTypeError),
    ],
)
def test_settings_that_no_copy_can_have(settings: Any, kind: Any, client: Humanloop) -> None:
    with pytest.raises(kind):
        client.with_options(**settings)


# --- requests that are not sent ---


def test_building_a_request(client: Humanloop, server: Any) -> None:
    expected = client.build_request(client.projects.get, "pr_1", timeout=3)
    assert (expected.method, expected.path, expected.timeout) == ("GET", "/projects/pr_1", 3)
    assert client.build_request(client.projects.aget, id="pr_1", timeout=3) == expected
    chat = client.build_request(client.chats.create, **CHAT, stream=True)
    assert (chat.path, chat.stream) == ("/chat", True)
    assert client.build_request(client.chat, **CHAT, stream=True) == chat
    assert client.build_request(client.achat, body={**CHAT, "stream": True}) == chat
    page = client.build_request(client.projects.iterate_list, page=3, size=7)
    assert page.query == "page=3&size=7"
    assert client.build_request(client.projects.aiterate_list, page=3, size=7) == page
    assert server.requests == []


@pytest.mark.parametrize("wrong", ["chat_stream", "with_options", "len", "function", "text"])
def test_what_builds_no_request(wrong: str, client: Humanloop) -> None:
    things: dict[str, Any] = {
        "chat_stream": client.chat_stream,
        "with_options": client.with_options,
        "len": len,
        "function": type(client.projects).get,
        "text": "projects.get",
    }
    with pytest.raises(ApiTypeError, match="is no method of a tag"):
        client.build_request(things[wrong])


def test_building_checks_the_arguments(client: Humanloop) -> None:
    options: Any = {"timout": 5}
    with pytest.raises(ApiTypeError, match="'timout'; did you mean 'timeout'"):
        client.build_request(client.projects.get, "pr_1", **options)


def test_a_request_as_a_command(server: Any) -> None:
    client = Humanloop("hl-secret-key", server.host, openai_api_key="sk-secret-openai")
    request = client.build_request(client.chat, **CHAT, provider_api_keys={"cohere": "co-secret"})
    words = shlex.split(request.as_curl())
    assert words[:4] == ["curl", "--request", "POST", f"{server.host}/chat"]
    assert "X-API-KEY: ***" in words
    assert '"provider_api_keys":{"openai":"***","cohere":"***"}' in words[-1]
    assert '"model":"gpt-4"' in words[-1]
    assert "secret" not in request.as_curl()


# --- validation that warns, and reports ---


def test_a_body_that_does_not_fit_may_be_taken_as_it_is(caller: Any, server: Any) -> None:
    server.answer({"id": 5, "mean": 0.5})
    client = caller.client(server.host, response_validation="lenient")
    with pytest.warns(ResponseValidationWarning, match=r"sessions\.create\(\): the body does") as w:
        response = caller(client.sessions.create)
    assert response.body == {"id": 5, "mean": 0.5}
    assert type(response.body) is dict
    (warning,) = w
    # It names the code that called: here the driver, or the loop that runs a coroutine as a task.
    assert Path(humanloop.__file__).parent not in Path(warning.filename).parents
    if caller.kind == "sync":
        assert warning.filename == inspect.getfile(type(caller))
    server.answer(b"{oops")
    with pytest.raises(ApiResponseDecodingError):
        caller(client.sessions.create)


def test_a_warning_of_an_awaited_call_names_its_caller(server: Any) -> None:
    server.answer({"id": 5})

    async def main() -> None:
        async with Humanloop("k", server.host, response_validation="lenient") as client:
            await client.sessions.acreate()

    with pytest.warns(ResponseValidationWarning) as caught:
        asyncio.run(main())
    assert [warning.filename for warning in caught] == [__file__]


def test_drift_is_reported(caller: Any, server: Any) -> None:
    reports: list[DriftReport] = []
    client = caller.client(server.host, on_drift=reports.append)
    server.answer({"id": "sesh_1"})
    caller(client.sessions.create)
    assert reports == []
    server.answer({"id": "sesh_1", "fresh": 1})
    assert caller(client.sessions.create).body.id == "sesh_1"
    server.answer({"id": 5})
    with pytest.raises(ApiResponseValidationError):
        caller(client.sessions.create)
    kinds = [[finding.kind for finding in report.findings] for report in reports]
    assert kinds == [["undeclared_key"], ["misfit"]]
    assert {report.operation for report in reports} == {"sessions.create"}
    server.answer({"id": 5, "fresh": 1})
    caller(client.sessions.create, skip_deserialization=True)  # nothing to compare
    assert len(reports) == 2


def test_drift_of_the_events_of_a_stream(caller: Any, server: Any) -> None:
    reports: list[DriftReport] = []
    client = caller.client(server.host, on_drift=reports.append)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    event = b'data: {"data": [], "provider_responses": [], "fresh": 1}\n\n'
    server.send_raw(head + event * 2)
    assert len(caller.all(caller(client.chat, **CHAT, stream=True))) == 2
    assert [report.findings[0].pointer for report in reports] == ["/fresh", "/fresh"]


def renewing(configuration: Any, kind: str, keys: list[str]) -> None:
    """Let a hook put the next key in place; in asynchronous calls, by a coroutine function."""
    turns = iter(keys)

    def renew(given: Any) -> None:
        assert given is configuration
        given.api_key["APIKeyHeader"] = given.openai_api_key = next(turns)

    async def arenew(given: Any) -> None:
        await asyncio.sleep(0)
        renew(given)

    configuration.refresh_api_key_hook = arenew if kind == "async" else renew


def test_the_key_is_renewed_before_each_try(caller: Any, server: Any) -> None:
    client = caller.client(server.host, retries=RetryPolicy(backoff=0.001, statuses={401, 503}))
    renewing(client.configuration, caller.kind, ["k1", "k2", "k3", "k4"])
    server.answer_in_turn(503, 401, 200)
    chat = {"messages": [], "model_config": {"model": "m"}, "skip_deserialization": True}
    caller(client.chat, **chat, idempotent=True)
    caller(client.chat, **chat)
    sent = server.requests
    assert [request.headers["X-API-KEY"] for request in sent] == ["k1", "k2", "k3", "k4"]
    assert [r.json["provider_api_keys"]["openai"] for r in sent] == ["k1", "k2", "k3", "k4"]
    assert [r.headers.get("X-Retry-Count") for r in sent] == [None, "1", "2", None]


def test_no_key_is_renewed_for_a_call_that_is_refused(caller: Any, server: Any) -> None:
    client = caller.client(server.host)
    renewing(client.configuration, caller.kind, [])
    with pytest.raises(SchemaValidationError):
        caller(client.projects.create, name=5)
    assert server.requests == []


def test_a_401_answers_a_call_that_the_server_did_not_do(caller: Any, server: Any) -> None:
    client = caller.client(server.host, retries=RetryPolicy(backoff=0.001, statuses={401}))
    server.answer_in_turn(401, 200)
    caller(client.projects.create, name="p", skip_deserialization=True)
    assert len(server.requests) == 2


def test_a_coroutine_that_renews_needs_an_asynchronous_call(server: Any) -> None:
    with Humanloop("k", server.host) as client:
        renewing(client.configuration, "async", ["k1"])
        with pytest.raises(ApiTypeError, match=r"arenew\(\) is a coroutine function"):
            client.projects.list()
    assert server.requests == []
