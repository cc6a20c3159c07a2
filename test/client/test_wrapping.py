"""A wrapped provider's client: requests and answers are logged, and its caller gets them unchanged.

The providers' own packages are tested in `test/models`; these tests have their common part, an
object that sends by an HTTP client of httpx.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import warnings
import weakref
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from conftest import Loopback, response

from humanloop import ApiTypeError, wrap
from humanloop.exceptions import TracingWarning
from humanloop.model.log_request import LogRequest
from humanloop.tracing import Session, Tracer

CHAT = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"name": "look", "description": "d", "parameters": {"type": "object"}}
ANSWER = {
    "id": "c1",
    "model": "gpt-4-0613",
    "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"total_tokens": 3},
}
METADATA = {
    "finish_reason": "stop",
    "usage": {"total_tokens": 3},
    "model": "gpt-4-0613",
    "provider_id": "c1",
}


def sse(*events: Any, done: bool = True) -> bytes:
    """Return the bytes of a stream of events."""
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


class Provider:
    """Calls like the providers' packages, in threads or in an event loop."""

    destination = "here"

    def __init__(self, kind: str, host: str) -> None:
        self.written: list[dict[str, Any]] = []
        self.loop = asyncio.new_event_loop() if kind == "async" else None
        self._client: Any = httpx.AsyncClient() if self.loop else httpx.Client()
        self.host = host
        self.tracer = Tracer(self)
        self.logging = SimpleNamespace(tracer=self.tracer)

    def keep(self, keys: Mapping[str, Any]) -> object:
        LogRequest(keys)
        self.written.append(dict(keys))
        return keys["reference_id"]

    def update(self, reference_id: str, keys: Mapping[str, Any]) -> object:
        raise AssertionError("these have no children")

    def one(self) -> dict[str, Any]:
        """Return the only log."""
        [span] = self.written
        return span

    def send(self, body: Any, path: str = "/v1/chat/completions", *, stream: bool = False) -> Any:
        """Send a request; a stream is left to be read."""
        request = self._client.build_request("POST", self.host + path, json=body)
        return self._do(self._client.send(request, stream=stream))

    def _do(self, outcome: Any) -> Any:
        return self.loop.run_until_complete(outcome) if self.loop else outcome

    def read(self, answer: Any) -> bytes:
        """Read the rest of a stream, and close it."""
        if self.loop is None:
            with contextlib.closing(answer):
                return b"".join(answer.iter_bytes())

        async def read() -> bytes:
            pieces = [piece async for piece in answer.aiter_bytes()]
            await answer.aclose()
            return b"".join(pieces)

        return self.loop.run_until_complete(read())

    def read_one(self, answer: Any) -> bytes:
        """Read a piece of a stream."""
        pieces = answer.iter_raw() if self.loop is None else answer.aiter_raw()
        piece: bytes = next(pieces) if self.loop is None else self._do(pieces.__anext__())
        return piece

    def close(self, answer: Any) -> None:
        """Close a stream before its end."""
        if self.loop is None:
            answer.close()
        else:
            self._do(answer.aclose())

    def end(self) -> None:
        """Close the HTTP client and the event loop."""
        self.close(self._client)
        if self.loop is not None:
            self._do(self.loop.shutdown_asyncgens())
            self.loop.close()


@pytest.fixture(params=["sync", "async"])
def provider(request: pytest.FixtureRequest, server: Loopback) -> Any:
    made = Provider(request.param, server.host.removesuffix("/v4"))
    assert wrap(made, client=made.logging) is made  # type: ignore[arg-type]  # pyright: ignore
    yield made
    made.end()
    assert made.tracer.failures == 0


def test_an_answer_in_one_piece(provider: Provider, server: Loopback) -> None:
    server.answer(ANSWER)
    body = {
        **CHAT,
        "temperature": 0,
        "max_completion_tokens": 9,
        "seed": 3,
        "stop": ["x"],
        "tools": [{"type": "function", "function": TOOL}],
    }
    answer = provider.send(body)
    assert type(answer) is httpx.Response
    assert answer.json() == ANSWER
    assert server.requests[0].json == body
    span = provider.one()
    assert span["config"] == {
        "type": "model",
        "model": "gpt-4",
        "provider": "openai",
        "endpoint": "chat",
        "temperature": 0,
        "max_tokens": 9,
        "stop": ["x"],
        "tools": [TOOL],
        "other": {"seed": 3},
    }
    assert span["messages"] == CHAT["messages"]
    assert (span["output"], span["metadata"]) == ("Hello", METADATA)
    assert span["project"] == "openai"
    assert span["duration"] > 0


def test_models_at_azure(provider: Provider, server: Loopback) -> None:
    server.answer(ANSWER)
    provider.send(CHAT, "/openai/deployments/gpt-4/chat/completions?api-version=1")
    span = provider.one()
    assert (span["config"]["provider"], span["project"]) == ("openai_azure", "openai")


def test_messages_of_all_kinds(provider: Provider, server: Loopback) -> None:
    calls = [{"id": "t", "function": {"name": "look", "arguments": "{}"}}]
    server.answer({"choices": [{"message": {"content": None, "tool_calls": calls}}]})
    picture = {"type": "image_url", "image_url": {"url": "data:..."}}
    messages = [
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "text", "text": "t"}, picture], "name": "n"},
        {"role": "assistant", "content": None, "tool_calls": [*calls, *calls]},
        {"role": "tool", "content": "found", "tool_call_id": "t"},
    ]
    provider.send({**CHAT, "messages": messages})
    call = {"name": "look", "arguments": "{}"}
    assert provider.one()["messages"] == [
        {"role": "system", "content": "d"},
        {"role": "user", "content": "t\n[image_url]", "name": "n"},
        {"role": "assistant", "tool_call": call, "tool_calls": [call, call]},
        {"role": "tool", "content": "found"},
    ]
    assert json.loads(provider.one()["output"]) == [call]


def test_each_sample_is_a_log(provider: Provider, server: Loopback) -> None:
    choices = [{"index": n, "message": {"content": f"{n}"}} for n in range(3)]
    server.answer({"choices": choices})
    provider.send({**CHAT, "n": 3})
    assert [each["output"] for each in provider.written] == ["0", "1", "2"]
    assert len({each["reference_id"] for each in provider.written}) == 3
    assert len({json.dumps(each["config"]) for each in provider.written}) == 1


def test_samples_have_the_parent_of_their_request(provider: Provider, server: Loopback) -> None:
    deltas = [{"choices": [{"index": n, "delta": {"content": f"{n}"}}]} for n in range(2)]
    server.answer(sse(*deltas), Content_Type="text/event-stream")
    with Session("mine"):
        answer = provider.send({**CHAT, "stream": True, "n": 2}, stream=True)
    provider.read(answer)
    found = [each.get("session_reference_id") for each in provider.written]
    assert found == ["mine", "mine"]


CALLS = [
    {"name": "look", "arguments": '{"a": 1}'},
    {"name": "find", "arguments": '{"b": 2}'},
]


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"function": each} for each in CALLS]},
        {"tool_calls": [{"custom": {"name": c["name"], "input": c["arguments"]}} for c in CALLS]},
        {"function_call": CALLS[0]},
        {"reasoning_content": "because"},
        {"reasoning": "because"},
    ],
)
def test_what_is_beside_a_text(provider: Provider, server: Loopback, message: Any) -> None:
    server.answer({"choices": [{"index": 0, "message": {"content": "Hello", **message}}]})
    provider.send(CHAT)
    span = provider.one()
    assert span["output"] == "Hello"
    if "reasoning" in json.dumps(message):
        assert span["metadata"] == {"reasoning": "because"}
    else:
        assert span["metadata"]["tool_calls"] == CALLS[: len(span["metadata"]["tool_calls"])]


@pytest.mark.parametrize(
    "pieces",
    [
        [  # in turns
            {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "look"}}]},
            {"tool_calls": [{"index": 1, "id": "2", "function": {"name": "find"}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]},
            {"tool_calls": [{"index": 1, "function": {"arguments": '{"b": '}}]},
            {"tool_calls": [{"index": 1, "function": {"arguments": "2}"}}]},
        ],
        [{"tool_calls": [{"id": c["name"], "function": c}]} for c in CALLS],  # without an index
        [{"tool_calls": [{"index": 10**9 + i, "function": c}]} for i, c in enumerate(CALLS)],
    ],
)
def test_tool_calls_in_a_stream(provider: Provider, server: Loopback, pieces: Any) -> None:
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in pieces]
    server.answer(sse(*events), Content_Type="text/event-stream")
    provider.send({**CHAT, "stream": True})
    assert json.loads(provider.one()["output"]) == CALLS


@pytest.mark.parametrize("compressed", [False, True])
def test_a_stream(provider: Provider, server: Loopback, compressed: bool) -> None:
    function = {"name": "look", "arguments": '{"a"'}
    pieces = [
        {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant"}}]},
        {"choices": [{"index": 0, "delta": {"content": "Hel"}}]},
        {"choices": [{"index": 0, "delta": {"content": "lo"}}]},
        {"choices": [{"index": 1, "delta": {"tool_calls": [{"index": 0, "function": function}]}}]},
        {
            "choices": [
                {
                    "index": 1,
                    "delta": {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
                }
            ]
        },
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"total_tokens": 3}},
    ]
    data = sse(*pieces)
    headers = {"Content-Type": "text/event-stream"}
    if compressed:
        headers["Content-Encoding"] = "gzip"
    server.reply = server.sending(
        response(gzip.compress(data) if compressed else data, 200, headers)
    )
    answer = provider.send({**CHAT, "stream": True, "n": 2}, stream=True)
    assert provider.written == []
    assert provider.read(answer) == data
    first, second = provider.written
    assert first["output"] == "Hello"
    assert first["metadata"] == {**METADATA, "model": "m"}
    assert json.loads(second["output"]) == [{"name": "look", "arguments": '{"a": 1}'}]
    assert first["config"] == second["config"]
    assert "other" not in first["config"]


def test_a_stream_that_is_left(provider: Provider, server: Loopback) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    server.reply = server.hanging(head)
    answer = provider.send({**CHAT, "stream": True}, stream=True)
    provider.close(answer)
    assert "output" not in provider.one()


@pytest.mark.parametrize("is_read", [False, True])
def test_an_answer_in_one_piece_that_is_left(
    provider: Provider, server: Loopback, is_read: bool
) -> None:
    """A caller may read only the headers, or a part of the body."""
    server.reply = server.hanging(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + b'{"id": ')
    answer = provider.send(CHAT, stream=True)
    if is_read:
        provider.read_one(answer)
    provider.close(answer)
    assert provider.one().get("output") == ('{"id": ' if is_read else None)
    assert "error" not in provider.one()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_stream_that_is_dropped(server: Loopback) -> None:
    provider = Provider("sync", server.host)
    wrap(provider, client=provider.logging)  # type: ignore[arg-type]  # pyright: ignore
    piece = sse({"choices": [{"index": 0, "delta": {"content": "Hel"}}]}, done=False)
    server.reply = server.hanging(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + piece
    )
    answers = [provider.send({**CHAT, "stream": True}, stream=True) for _ in range(2)]
    assert next(answers[0].iter_bytes()) == piece
    answers.clear()
    gc.collect()
    assert [each.get("output") for each in provider.written] == ["Hel", None]
    provider.end()


def test_a_compressed_stream_that_is_left(provider: Provider, server: Loopback) -> None:
    whole = gzip.compress(sse({"choices": [{"index": 0, "delta": {"content": "Hel"}}]}))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
    server.reply = server.hanging(head + whole[:-8])
    answer = provider.send({**CHAT, "stream": True}, stream=True)
    provider.read_one(answer)
    provider.close(answer)
    assert provider.one()["output"] == "Hel"


def test_a_stream_that_is_cut(provider: Provider, server: Loopback) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999\r\n\r\n"
    server.send_raw(
        head + sse({"choices": [{"index": 0, "delta": {"content": "Hel"}}]}, done=False)
    )
    answer = provider.send({**CHAT, "stream": True}, stream=True)
    with pytest.raises(httpx.RemoteProtocolError):
        provider.read(answer)
    assert provider.one()["output"] == "Hel"
    assert provider.one()["error"].startswith("RemoteProtocolError: ")


def test_what_goes_wrong(provider: Provider, server: Loopback) -> None:
    server.answer({"error": {"message": "no key sk-abcdefgh12345"}}, 401)
    assert provider.send(CHAT).status_code == 401
    assert provider.one()["error"] == 'HTTP 401: {"error": {"message": "no key ***"}}'
    provider.written.clear()
    provider.host = "http://127.0.0.1:1"
    with pytest.raises(httpx.ConnectError):
        provider.send(CHAT)
    assert provider.one()["error"].startswith("ConnectError: ")


def test_other_requests_are_not_logged(provider: Provider, server: Loopback) -> None:
    assert provider.send({"input": "x"}, "/v1/embeddings").status_code == 200
    message = {"role": "user", "content": "x"}
    assert provider.send(message, "/v1/threads/t/messages").status_code == 200
    assert provider.written == []


def test_completions(provider: Provider, server: Loopback) -> None:
    server.answer({"choices": [{"index": 0, "text": "Hello", "finish_reason": "stop"}]})
    provider.send({"model": "m", "prompt": "Hi"}, "/v1/completions")
    span = provider.one()
    assert (span["config"]["endpoint"], span["inputs"]) == ("complete", {"prompt": "Hi"})
    assert (span["output"], span["metadata"]) == ("Hello", {"finish_reason": "stop"})


@pytest.mark.parametrize("stream", [False, True])
def test_responses(provider: Provider, server: Loopback, stream: bool) -> None:
    content = [{"type": "output_text", "text": "Hello"}]
    body = {
        "id": "r1",
        "model": "m",
        "status": "completed",
        "output": [{"type": "message", "content": content}],
        "usage": {"total_tokens": 3},
    }
    server.answer(body)
    if stream:
        data = sse({"type": "response.created"}, {"type": "response.completed", "response": body})
        server.answer(data, Content_Type="text/event-stream")
    asked = {"model": "m", "instructions": "i", "input": "Hi", "max_output_tokens": 5}
    provider.send(asked, "/v1/responses")
    span = provider.one()
    assert span["messages"] == [
        {"role": "system", "content": "i"},
        {"role": "user", "content": "Hi"},
    ]
    assert (span["output"], span["metadata"]["usage"]) == ("Hello", {"total_tokens": 3})
    assert span["config"]["max_tokens"] == 5


def test_responses_with_tools(provider: Provider, server: Loopback) -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "because"}]}
    called = {"type": "function_call", "call_id": "1", **CALLS[0]}
    text = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
    server.answer({"output": [thought, text, called]})
    found = {"type": "function_call_output", "call_id": "1", "output": "found"}
    provider.send({"model": "m", "input": [thought, called, found]}, "/v1/responses")
    span = provider.one()
    assert span["messages"] == [
        {"role": "assistant", "content": "[reasoning]"},
        {"role": "assistant", "tool_call": CALLS[0]},
        {"role": "tool", "content": "found"},
    ]
    assert span["output"] == "Hello"
    assert span["metadata"] == {"tool_calls": CALLS[:1], "reasoning": "because"}


MESSAGE = {
    "id": "m1",
    "model": "claude",
    "content": [
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}},
        {"type": "thinking", "thinking": "because", "signature": "s"},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 1, "output_tokens": 2},
}
MESSAGE_EVENTS = [
    {
        "type": "message_start",
        "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 1}},
    },
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "thinking", "thinking": "", "signature": ""},
    },
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "thinking_delta", "thinking": "because"},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "t", "name": "look", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'},
    },
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use"},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
]


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_messages(provider: Provider, server: Loopback, stream: bool) -> None:
    server.answer(MESSAGE)
    if stream:
        server.answer(sse(*MESSAGE_EVENTS, done=False), Content_Type="text/event-stream")
    asked = {
        "model": "claude",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "s"}],
        "stop_sequences": ["x"],
        "tools": [{"name": "look", "description": "d", "input_schema": {"type": "object"}}],
        "thinking": {"type": "disabled"},
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [MESSAGE["content"][1]]},
            {"role": "user", "content": [{"type": "tool_result", "content": "found"}]},
        ],
    }
    provider.send(asked, "/v1/messages")
    span = provider.one()
    assert span["config"] == {
        "type": "model",
        "model": "claude",
        "provider": "anthropic",
        "endpoint": "chat",
        "max_tokens": 9,
        "stop": ["x"],
        "tools": [TOOL],
        "other": {"thinking": {"type": "disabled"}},
    }
    assert span["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "",
            "tool_call": {"name": "look", "arguments": {"a": 1}},
        },
        {"role": "tool", "content": "found"},
    ]
    assert span["output"] == "Hello"
    assert span["metadata"] == {
        "finish_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2},
        "model": "claude",
        "provider_id": "m1",
        "tool_calls": [{"name": "look", "arguments": {"a": 1}}],
        "reasoning": "because",
    }


def test_a_tool_call_that_is_cut(provider: Provider, server: Loopback) -> None:
    until = next(i for i, each in enumerate(MESSAGE_EVENTS) if "partial_json" in str(each))
    data = (
        sse(*MESSAGE_EVENTS[1:until], done=False).replace(b'"Hel"', b'""').replace(b'"lo"', b'""')
    )
    delta = {"type": "input_json_delta", "partial_json": '{"a'}
    data += sse({"type": "content_block_delta", "index": 1, "delta": delta}, done=False)
    server.answer(data, Content_Type="text/event-stream")
    provider.send({"model": "claude", "max_tokens": 9, "messages": []}, "/v1/messages")
    assert json.loads(provider.one()["output"]) == [{"name": "look", "arguments": '{"a'}]


def test_calls_within_a_traced_function(provider: Provider, server: Loopback) -> None:
    server.answer(ANSWER)
    provider.update = lambda reference_id, keys: None  # type: ignore[method-assign]

    @provider.tracer.traced(project="mine")
    def ask() -> None:
        provider.send(CHAT)

    ask()
    outer, inner = provider.written
    assert inner["parent_reference_id"] == outer["reference_id"]
    assert inner["project"] == "mine"


@pytest.fixture
def failing(server: Loopback) -> Iterator[Provider]:
    """Return a provider, some of whose calls can't be read."""
    made = Provider("sync", server.host.removesuffix("/v4"))
    wrap(made, client=made.logging)  # type: ignore[arg-type]  # pyright: ignore
    yield made
    made.end()
    assert made.tracer.failures == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"<html> sk-abcdefgh12", "application/json"),
        (b"[1]", "application/json"),
        (b"data: {broken sk-abcdefgh12\n\n", "text/event-stream"),
        (b'data: {"choices": [{"index": "x"}]}\n\n', "text/event-stream"),
    ],
)
def test_answers_that_can_t_be_read(
    failing: Provider, server: Loopback, answer: bytes, kind: str
) -> None:
    server.answer(answer, Content_Type=kind)
    with pytest.warns(TracingWarning, match="tracing failed"):
        assert failing.send(CHAT).content == answer
    span = failing.one()
    assert span["messages"] == CHAT["messages"]
    assert span["config"]["model"] == "gpt-4"
    assert span["output"] == answer.decode().replace("sk-abcdefgh12", "***")
    assert span["error"].startswith("the answer can't be read: ")


@pytest.mark.parametrize("body", [{**CHAT, "temperature": "hot"}, ["a"]])
def test_requests_that_can_t_be_read(failing: Provider, server: Loopback, body: Any) -> None:
    server.answer(ANSWER)
    with pytest.warns(TracingWarning, match="tracing failed"):
        assert failing.send(body).json() == ANSWER
    span = failing.one()
    assert span["inputs"] == {"body": body}
    assert span["config"]["model"] == ("gpt-4" if isinstance(body, dict) else "unknown")
    assert span["output"] == "Hello"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "place",
    [
        "spans.Span.__init__",
        "spans.Span.another",
        "spans.Span.end",
        "spans.running",
        "wrapping.as_json",
        "wrapping.error_text",
        "wrapping.is_event_stream",
        "wrapping._Watch._read",
        "wrapping._Call._log",
        "wrapping._Call._decoded",
        "openai_calls.objects",
    ],
)
def test_a_bug_anywhere_reaches_nobody(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, place: str, stream: bool
) -> None:
    def bug(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a bug")

    provider = Provider("sync", server.host.removesuffix("/v4"))
    wrap(provider, client=provider.logging)  # type: ignore[arg-type]  # pyright: ignore
    data = sse({"choices": [{"index": n, "delta": {"content": "Hi"}} for n in range(2)]})
    monkeypatch.setattr(f"humanloop.tracing.{place}", bug)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TracingWarning)
        server.answer(data, Content_Type="text/event-stream")
        answer = provider.send({**CHAT, "stream": True, "n": 2}, stream=stream)
        assert provider.read(answer) == data
        provider.host = "http://127.0.0.1:1"
        with pytest.raises(httpx.ConnectError):
            provider.send(CHAT)
    provider.end()


def test_what_is_logged_can_be_stored(provider: Provider, server: Loopback) -> None:
    """A piece may hold half of a character; no server stores a half, nor U+0000."""
    halves = ["\ud83d", "\ude00 \0", "\ud83d"]
    events = [{"choices": [{"index": 0, "delta": {"content": each}}]} for each in halves]
    server.answer(sse(*events), Content_Type="text/event-stream")
    asked = [{"role": "user", "content": "a\0"}]
    provider.send({**CHAT, "messages": asked, "stream": True, "api_key": "secret", "seed": 1})
    span = provider.one()
    assert span["output"] == "\U0001f600 \ufffd\ufffd"
    assert span["messages"] == [{"role": "user", "content": "a\ufffd"}]
    assert span["config"]["other"] == {"api_key": "***", "seed": 1}


def test_wrapping_again_changes_nothing(provider: Provider, server: Loopback) -> None:
    server.answer(ANSWER)
    wrap(provider, client=provider.logging)  # type: ignore[arg-type]  # pyright: ignore
    provider.send(CHAT)
    assert len(provider.written) == 1


def test_what_replaces_the_method_later_is_called(
    provider: Provider, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Monitoring tools patch the classes of httpx, possibly later than `wrap`."""
    seen: list[str] = []
    kind: Any = type(provider._client)
    send = kind.send

    def watched(self: Any, request: httpx.Request, **options: Any) -> Any:
        seen.append(request.url.path)
        return send(self, request, **options)

    monkeypatch.setattr(kind, "send", watched)
    server.answer(ANSWER)
    provider.send(CHAT)
    assert seen == ["/v1/chat/completions"]
    assert provider.one()["output"] == "Hello"


def test_only_the_one_instance_is_wrapped(provider: Provider, server: Loopback) -> None:
    server.answer(ANSWER)
    with httpx.Client() as other:
        other.post(f"{provider.host}/v1/chat/completions", json=CHAT)
    assert provider.written == []


def test_what_can_t_be_wrapped() -> None:
    for wrong, said in ((Provider, "the class Provider"), (3, "an instance of int")):
        with pytest.raises(ApiTypeError, match=f"not {said}"):
            wrap(wrong)


def test_a_wrapped_instance_goes_when_nobody_has_it(server: Loopback) -> None:
    provider = Provider("sync", server.host)
    wrap(provider, client=provider.logging)  # type: ignore[arg-type]  # pyright: ignore
    http = provider._client
    http.close()
    reference = weakref.ref(http)
    gc.disable()
    try:
        del provider._client, http
        assert reference() is None
    finally:
        gc.enable()
