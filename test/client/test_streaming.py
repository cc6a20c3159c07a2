"""Streams of events from a real socket, both ways: what comes, how they end, and what is left."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import pickle
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from client.limits import run_out

from humanloop import AsyncStream, Humanloop, RetryPolicy, Stream, exceptions
from humanloop.drift import DriftReport
from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    ApiResponseDecodingError,
    ApiResponseValidationError,
    ApiStreamBrokenError,
    ApiStreamEventError,
    ApiStreamingException,
    ApiStreamTimeoutError,
    ApiTimeoutError,
    ResponseValidationWarning,
)
from humanloop.model import ChatResponse, CompletionResponse

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = EVENTS + b"Transfer-Encoding: chunked\r\n\r\n"
GRACE = 10.0
"""Seconds that a busy machine may add to a deadline."""

CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "model_config": {"model": "gpt-4"},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "": {"model_config": {"model": "gpt-4"}},  # and a template, where there are no messages
    "_deployed": {"project": "p"},
    "_experiment": {"experiment_id": "exp_1"},
    "_model_configuration": {"model_config_id": "config_1"},
}
MORE = {"complete": {"model_config": {"model": "gpt-4", "prompt_template": "Hi"}}}
SHORTCUTS = [
    (f"{kind}{suffix}", kind, {**ARGUMENTS[suffix], **MORE.get(f"{kind}{suffix}", {})})
    for kind in ("chat", "complete")
    for suffix in ARGUMENTS
]


def piece(output: str, number: int = 0) -> dict[str, Any]:
    """An event that fits both kinds of operations."""
    sample = {"id": f"data_{number}", "index": 0, "output": output, "raw_output": output}
    return {"data": [{**sample, "inputs": {}, "model_config_id": "c"}], "provider_responses": []}


def data(*outputs: str) -> bytes:
    """Events, as the server writes them."""
    texts = (json.dumps(piece(o, n), ensure_ascii=False) for n, o in enumerate(outputs))
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def chunks(*parts: bytes, end: bool = True) -> bytes:
    """Parts of a chunked body."""
    coded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return coded + (b"0\r\n\r\n" if end else b"")


def outputs(events: Any) -> list[str]:
    return [event["data"][0]["output"] for event in events]


@pytest.fixture(autouse=True)
def nothing_is_left(server: Any) -> Iterator[None]:
    """A socket that nobody closed is reported when it is collected, and so within its test."""
    yield
    gc.collect(1)  # what the test made is young


@pytest.fixture
def client(caller: Any, server: Any) -> Humanloop:
    made: Humanloop = caller.client(server.host, retries=RetryPolicy(backoff=0.001))
    return made


def opened(caller: Any, client: Humanloop, **options: Any) -> Any:
    return caller(client.chat, **CHAT, stream=True, **options)


def failure(caller: Any, stream: Any, seen: list[str]) -> Any:
    """What reading a stream to its end raises, after the events of which these are the outputs."""
    events = [caller.next(stream) for _ in seen]
    with pytest.raises(ApiStreamingException) as caught:
        caller.next(stream)
    error = caught.value
    assert outputs(events) == seen
    assert error.events == tuple(events)
    assert (error.method, error.path, error.status) == ("POST", "/chat", 200)
    assert error.headers is not None
    assert error.headers["Content-Type"] == "text/event-stream"
    assert error.tries == 1
    assert error.elapsed is not None
    assert error.elapsed > 0
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.events, again.body) == (str(error), error.events, error.body)
    assert caller.all(stream) == []  # it is over
    return error


# --- what comes ---


@pytest.mark.parametrize(("name", "kind", "arguments"), SHORTCUTS, ids=[s[0] for s in SHORTCUTS])
def test_every_operation_that_streams(
    name: str, kind: str, arguments: dict[str, Any], caller: Any, server: Any, client: Humanloop
) -> None:
    server.send_raw(CHUNKED + chunks(data("Hel", "lo")), then_close=False)
    if kind == "chat":
        arguments = {**arguments, "messages": CHAT["messages"]}
    stream = caller(getattr(client, name), **arguments, stream=True)
    assert isinstance(stream, AsyncStream if caller.kind == "async" else Stream)
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
    assert 0 < stream.round_trip_time < 10
    events = caller.all(stream)
    assert outputs(events) == ["Hel", "lo"]
    expected = ChatResponse if kind == "chat" else CompletionResponse
    assert all(isinstance(event, expected) for event in events)
    assert [event.data[0].id for event in events] == ["data_0", "data_1"]
    assert server.requests[0].json["stream"] is True
    # All of it was read, so the connection is as good as new.
    again = caller(getattr(client, name), body={**arguments, "stream": True})
    assert outputs(caller.all(again)) == ["Hel", "lo"]
    assert server.connections == 1


def test_each_event_comes_when_it_is_there(caller: Any, server: Any, client: Humanloop) -> None:
    go_on = threading.Semaphore(0)

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(CHUNKED)
        for output in ("a", "b", "c"):
            connection.sendall(chunks(data(output), end=False))
            assert go_on.acquire(timeout=10)
        connection.sendall(b"0\r\n\r\n")

    server.reply = reply
    stream = opened(caller, client)
    for output in ("a", "b", "c"):
        assert outputs([caller.next(stream)]) == [output]
        go_on.release()
    assert caller.all(stream) == []


BODY = data("ünï", "c🎈dé", "e")
FORMS = {
    "byte by byte": (EVENTS + b"Transfer-Encoding: chunked\r\n\r\n", [bytes([b]) for b in BODY]),
    "CRLF": (CHUNKED, [BODY.replace(b"\n", b"\r\n")]),
    "CRLF, cut within": (CHUNKED, BODY.replace(b"\n", b"\r\n").partition(b"\r")),
    "CR": (CHUNKED, [BODY.replace(b"\n", b"\r")]),
    "comments and other fields": (
        CHUNKED,
        [b": hello\n\n", BODY.replace(b"data: ", b"id: 5\nretry: 9\n:\nfoo\ndata: "), b":bye\n\n"],
    ),
    "byte order mark": (CHUNKED, [b"\xef\xbb\xbf" + BODY]),
    "the end told": (CHUNKED, [BODY, b"data: [DONE]\n\n", b"data: whatever\n\n"]),
    "lines": (CHUNKED, [BODY.replace(b', "index"', b',\ndata: "index"')]),
    "gzip": (
        EVENTS + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        [gzip.compress(BODY)[:50], gzip.compress(BODY)[50:]],
    ),
}


@pytest.mark.parametrize(("head", "parts"), FORMS.values(), ids=FORMS)
def test_forms(head: bytes, parts: Any, caller: Any, server: Any, client: Humanloop) -> None:
    server.send_raw(head + chunks(*filter(None, parts)), then_close=False)
    assert outputs(caller.all(opened(caller, client))) == ["ünï", "c🎈dé", "e"]


@pytest.mark.parametrize("how", ["length", "until closed"])
def test_other_ways_to_end(how: str, caller: Any, server: Any, client: Humanloop) -> None:
    length = b"Content-Length: %d\r\n" % len(BODY) if how == "length" else b""
    server.send_raw(EVENTS + length + b"\r\n" + BODY, then_close=how != "length")
    for _ in range(2):
        assert outputs(caller.all(opened(caller, client))) == ["ünï", "c🎈dé", "e"]
    assert server.connections == (1 if how == "length" else 2)


def test_an_event_of_an_unknown_type_is_reported(
    caller: Any, server: Any, client: Humanloop
) -> None:
    ping, hint = b"event: ping\ndata: {}\n\n", b"event: hint\ndata: look\n\n"
    server.send_raw(CHUNKED + chunks(ping, data("a"), ping + hint, data("b")), then_close=False)
    with pytest.warns(ResponseValidationWarning, match="unknown type") as warned:
        assert outputs(caller.all(opened(caller, client))) == ["a", "b"]
    assert [str(w.message) for w in warned] == [
        f"chats.create(): left out an event of the unknown type '{kind}'"
        for kind in ("ping", "hint")
    ]
    reports: list[DriftReport] = []
    client = caller.client(server.host, on_drift=reports.append)
    assert outputs(caller.all(opened(caller, client))) == ["a", "b"]
    found = [(drift.kind, drift.value) for report in reports for drift in report.findings]
    assert found == [("unknown_event", "ping"), ("unknown_event", "hint")]
    assert {report.operation for report in reports} == {"chats.create"}


DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "raw",
    [
        CHUNKED + chunks(data("a"), DONE),
        CHUNKED + chunks(data("a"), DONE + b": bye\n\n"),
        EVENTS + b"Content-Length: %d\r\n\r\n" % len(data("a") + DONE) + data("a") + DONE,
        EVENTS
        + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks(gzip.compress(data("a") + DONE)),
        CHUNKED + chunks(data("a"), DONE[:-1]),
        CHUNKED + chunks(data("a"), DONE[:-2]),
        CHUNKED + chunks(data("a"), b"data:[DONE]\r\n"),
    ],
    ids=["chunked", "a comment after it", "length", "gzip", "no blank line", "no line end", "CRLF"],
)
def test_a_stream_that_says_that_it_is_done_gives_its_connection_back(
    raw: bytes, caller: Any, server: Any, client: Humanloop
) -> None:
    server.send_raw(raw, then_close=False)
    for _ in range(3):
        assert outputs(caller.all(opened(caller, client))) == ["a"]
    assert (len(server.requests), server.connections) == (3, 1)


def test_the_end_of_a_body_that_comes_after_the_stream_is_done(
    caller: Any, server: Any, client: Humanloop
) -> None:
    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(CHUNKED + chunks(data("a"), DONE, end=False))
        assert done.wait(10)
        connection.sendall(b"0\r\n\r\n")

    server.reply = reply
    for _ in range(2):
        done = threading.Event()
        stream = opened(caller, client)
        assert outputs([caller.next(stream)]) == ["a"]
        threading.Timer(0.005, done.set).start()
        assert caller.all(stream) == []
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize("how", ["silent", "endless"])
def test_a_server_that_goes_on_after_the_stream_is_done_is_not_waited_for(
    how: str, caller: Any, server: Any, client: Humanloop
) -> None:
    head = CHUNKED + chunks(data("a"), DONE, end=False)
    more = chunks(b": more\n\n" * 100, end=False)
    server.reply = server.hanging(head) if how == "silent" else server.endless(head, more)
    began = time.monotonic()
    for _ in range(2):
        assert outputs(caller.all(opened(caller, client))) == ["a"]
    assert time.monotonic() - began < GRACE
    assert (len(server.requests), server.connections) == (2, 2)


def test_a_large_event(caller: Any, server: Any, client: Humanloop) -> None:
    large = "ä" * 5_000_000
    server.send_raw(CHUNKED + chunks(data("a", large, "b")))
    assert outputs(caller.all(opened(caller, client))) == ["a", large, "b"]


def test_an_event_that_is_too_large(caller: Any, server: Any) -> None:
    client = caller.client(server.host, max_response_bytes=100_000)
    server.reply = server.endless(
        CHUNKED + chunks(data("a", "b") + b"data: ", end=False), chunks(b"x" * 9_999, end=False)
    )
    error = failure(caller, opened(caller, client), ["a", "b"])
    assert type(error) is ApiStreamBrokenError
    assert "larger than the 100000 bytes" in str(error)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_compressed_stream_that_would_fill_the_memory(
    layers: int, caller: Any, server: Any
) -> None:
    packer = zlib.compressobj(6, wbits=31)
    packed = b"".join(packer.compress(b"x" * (1 << 20)) for _ in range(64)) + packer.flush()
    coding = ", ".join(["gzip"] * layers).encode()
    for _ in range(layers - 1):
        packed = gzip.compress(packed)
    head = EVENTS + b"Content-Encoding: " + coding + b"\r\n"
    server.send_raw(head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed)
    client = caller.client(server.host, max_response_bytes=1_000_000)
    stream = opened(caller, client)
    tracemalloc.start()
    try:
        error = failure(caller, stream, [])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(error) is ApiStreamBrokenError
    assert peak < (32_000_000 if layers == 1 else 300_000_000)


@pytest.mark.parametrize("by", ["body", "keys"])
def test_plain_events(by: str, caller: Any, server: Any, client: Humanloop) -> None:
    server.send_raw(CHUNKED + chunks(b'data: {"data": [{"output": 5}], "mean": 0.5}\n\n'))
    arguments = {**CHAT, "stream": True}
    arguments = {"body": arguments} if by == "body" else arguments
    stream = caller(client.chat, **arguments, skip_deserialization=True)
    (event,) = caller.all(stream)
    assert event == {"data": [{"output": 5}], "mean": 0.5}
    assert (type(event), type(event["mean"])) == (dict, float)


def test_an_answer_that_is_no_stream(caller: Any, server: Any, client: Humanloop) -> None:
    server.answer(piece("all at once"))
    for _ in range(2):
        (event,) = caller.all(opened(caller, client))
        assert isinstance(event, ChatResponse)
        assert outputs([event]) == ["all at once"]
    (plain,) = caller.all(opened(caller, client, skip_deserialization=True))
    assert plain == piece("all at once")
    assert server.connections == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [({"data": 5}, ApiResponseValidationError), (b"<html>", ApiResponseDecodingError)],
)
def test_an_answer_that_is_neither_stream_nor_result(
    body: Any, kind: type[ApiException], caller: Any, server: Any, client: Humanloop
) -> None:
    server.answer(body)
    with pytest.raises(kind) as caught:
        opened(caller, client)
    assert isinstance(caught.value, ApiStreamingException)
    assert caught.value.tries == 1
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)


# --- leaving and closing ---


def test_closing_is_done_once(caller: Any, server: Any, client: Humanloop) -> None:
    server.reply = server.hanging(CHUNKED + chunks(data("a", "b"), end=False))
    stream = opened(caller, client)
    caller.next(stream)
    for _ in range(3):
        caller.close(stream)
    assert caller.all(stream) == []
    server.answer({})
    caller(client.projects.list, skip_deserialization=True)  # over another connection
    assert server.connections == 2


def has_gone(server: Any) -> Any:
    """A reply that streams on, and an event that tells that the client does not listen."""
    gone = threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(CHUNKED + chunks(data("a", "b"), end=False))
        try:
            connection.settimeout(10)
            if connection.recv(1) == b"":
                gone.set()
        except ConnectionError:
            gone.set()

    server.reply = reply
    return gone


@pytest.mark.parametrize("how", ["break", "with", "raise", "unread", "unread with"])
def test_leaving_early_gives_the_connection_up(
    how: str, caller: Any, server: Any, client: Humanloop
) -> None:
    gone = has_gone(server)

    def leave() -> None:
        stream = opened(caller, client)
        if how == "break":
            for _ in stream:
                break
        elif how == "with":
            with stream:
                next(stream)
        elif how == "raise":
            with pytest.raises(KeyError), stream:
                raise KeyError(next(stream))
        elif how == "unread with":
            with stream:
                pass

    async def aleave() -> None:
        stream = await client.achat(**CHAT, stream=True)
        if how == "break":
            async for _ in stream:
                break
        elif how == "with":
            async with stream:
                await stream.__anext__()
        elif how == "raise":
            with pytest.raises(KeyError):
                async with stream:
                    raise KeyError(await stream.__anext__())
        elif how == "unread with":
            async with stream:
                pass

    if caller.kind == "async":
        caller.run(aleave())
    else:
        leave()
    assert gone.wait(10)


def test_a_client_that_is_closed_under_a_stream(
    caller: Any, server: Any, client: Humanloop
) -> None:
    server.reply = server.hanging(CHUNKED + chunks(data("a", "b"), end=False))
    stream = opened(caller, client)
    assert outputs([caller.next(stream)]) == ["a"]
    caller.close(client)
    caller.close(stream)


def test_a_hook_that_fails_gives_the_connection_up(caller: Any, server: Any) -> None:
    gone = has_gone(server)

    def fail(*_: Any) -> None:
        raise KeyError("hook")

    client = caller.client(server.host, event_hooks={"response": [fail]})
    with pytest.raises(KeyError, match="hook"):
        opened(caller, client)
    assert gone.wait(10)


# --- errors that the server reports ---


def test_an_event_that_is_an_error(caller: Any, server: Any, client: Humanloop) -> None:
    report = b'event: error\ndata: {"detail": "model overloaded"}\n\n'
    server.send_raw(CHUNKED + chunks(data("a", "b"), report, data("c")), then_close=False)
    error = failure(caller, opened(caller, client), ["a", "b"])
    assert type(error) is ApiStreamEventError
    assert error.body == {"detail": "model overloaded"}
    assert str(error) == "200 OK: POST /chat: model overloaded"


@pytest.mark.parametrize("plain", [False, True], ids=["typed", "plain"])
@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"detail": "no"}, "no"),
        ({"error": "no"}, "no"),
        ({"error": {"message": "no", "type": "server_error"}}, "no"),
        ({"detail": [{"loc": ["body"], "msg": "no"}]}, "body: no"),
    ],
)
def test_an_error_without_its_type(
    event: Any, said: str, plain: bool, caller: Any, server: Any, client: Humanloop
) -> None:
    server.send_raw(CHUNKED + chunks(data("a"), b"data: %b\n\n" % json.dumps(event).encode()))
    stream = opened(caller, client, skip_deserialization=plain)
    error = failure(caller, stream, ["a"])
    assert type(error) is ApiStreamEventError
    assert error.body == event
    assert str(error) == f"200 OK: POST /chat: {said}"


def test_an_error_that_is_a_text(caller: Any, server: Any, client: Humanloop) -> None:
    server.send_raw(CHUNKED + chunks(b"event: error\ndata: out\ndata: of luck\n\n"))
    error = failure(caller, opened(caller, client), [])
    assert type(error) is ApiStreamEventError
    assert error.body == "out\nof luck"
    assert str(error).endswith(": out of luck")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (b"{oops", ApiResponseDecodingError),
        (b"NaN", ApiResponseDecodingError),
        (b"[" * 100_000, ApiResponseDecodingError),
        (b"{}", ApiResponseValidationError),
        (b"5", ApiResponseValidationError),
        (b'"text"', ApiResponseValidationError),
        (b'{"data": "detail", "detail": "x"}', ApiResponseValidationError),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_an_event_that_does_not_fit(
    event: bytes, kind: type[ApiException], caller: Any, server: Any, client: Humanloop
) -> None:
    server.send_raw(CHUNKED + chunks(data("a", "b"), b"data: %b\n\n" % event), then_close=False)
    error = failure(caller, opened(caller, client), ["a", "b"])
    assert isinstance(error, kind)
    assert type(error).__name__ == kind.__name__
    assert error.body == event.decode()
    assert error.errors[0].pointer == "" or error.errors
    if kind is ApiResponseDecodingError:
        with pytest.raises(kind) as caught:
            caller.all(opened(caller, client, skip_deserialization=True))
        assert isinstance(caught.value, ApiStreamingException)
        assert outputs(caught.value.events) == ["a", "b"]


def test_an_event_that_does_not_fit_may_be_taken_as_it_is(caller: Any, server: Any) -> None:
    odd = {"data": [{"output": 5}]}
    body = chunks(data("a"), b"data: %b\n\n" % json.dumps(odd).encode())
    server.send_raw(CHUNKED + body, then_close=False)
    client = caller.client(server.host, response_validation="lenient")
    with pytest.warns(ResponseValidationWarning, match=r"chats\.create\(\): an event does not fit"):
        events = caller.all(opened(caller, client))
    assert isinstance(events[0], ChatResponse)
    assert events[1] == odd
    server.send_raw(CHUNKED + chunks(b'data: {"detail": "no"}\n\n'), then_close=False)
    assert type(failure(caller, opened(caller, client), [])) is ApiStreamEventError
    server.send_raw(CHUNKED + chunks(b"data: {oops\n\n"), then_close=False)
    assert isinstance(failure(caller, opened(caller, client), []), ApiResponseDecodingError)


@pytest.mark.parametrize("status", [400, 401, 404, 418, 422, 429, 500, 503])
def test_a_status_that_is_an_error(
    status: int, caller: Any, server: Any, client: Humanloop
) -> None:
    server.answer({"detail": "no"}, status=status)
    with pytest.raises(ApiStreamingException) as caught:
        opened(caller, client)
    error = caught.value
    kind = exceptions.exception_for_status(status)
    assert isinstance(error, kind)
    name = "ApiStreamingException" if kind is ApiException else kind.__name__
    assert type(error).__name__ == name
    assert (error.status, error.body, error.events) == (status, {"detail": "no"}, ())
    assert len(server.requests) == error.tries == (3 if status == 429 else 1)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.body) == (type(error), str(error), error.body)


@pytest.mark.parametrize("fault", [429, 408])
def test_tried_again_before_the_first_byte(
    fault: int, caller: Any, server: Any, client: Humanloop
) -> None:
    server.answer_in_turn(fault, fault, CHUNKED + chunks(data("a", "b")))
    assert outputs(caller.all(opened(caller, client))) == ["a", "b"]
    assert len(server.requests) == 3


def test_nothing_is_tried_again_after_the_first_byte(
    caller: Any, server: Any, client: Humanloop
) -> None:
    server.answer_in_turn(CHUNKED + chunks(data("a"), end=False))
    stream = opened(caller, client, idempotent=True)
    assert type(failure(caller, stream, ["a"])) is ApiStreamBrokenError
    assert len(server.requests) == 1


# --- breaking off ---


BROKEN = {
    "cut between chunks": CHUNKED + chunks(data("a", "b"), end=False),
    "cut in a chunk": CHUNKED + chunks(data("a", "b"), end=False) + b"ff\r\ndata",
    "cut before the length": EVENTS + b"Content-Length: 9999\r\n\r\n" + data("a", "b"),
    "closed in an event": EVENTS + b"\r\n" + data("a", "b") + b"data: {",
    "ended in an event": CHUNKED + chunks(data("a", "b") + b"data: {}\n"),
    "ended in a line": CHUNKED + chunks(data("a", "b") + b"da"),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_a_stream_that_breaks_off(raw: bytes, caller: Any, server: Any, client: Humanloop) -> None:
    server.send_raw(raw)
    error = failure(caller, opened(caller, client), ["a", "b"])
    assert type(error) is ApiStreamBrokenError
    assert isinstance(error, ApiConnectionError)
    assert not isinstance(error, TimeoutError)
    server.answer({})
    assert caller(client.projects.list, skip_deserialization=True).body == {}


def test_a_connection_that_is_reset(caller: Any, server: Any, client: Humanloop) -> None:
    go_on = threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(CHUNKED + chunks(data("a"), end=False))
        assert go_on.wait(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise OSError("leave")  # which closes it, and so resets it

    server.reply = reply
    stream = opened(caller, client)
    assert outputs([caller.next(stream)]) == ["a"]
    go_on.set()
    with pytest.raises(ApiStreamBrokenError, match="broke off") as caught:
        caller.all(stream)
    assert outputs(caught.value.events) == ["a"]
    assert isinstance(caught.value.__cause__, ApiConnectionError)


# --- time ---


def assert_runs_out(caller: Any, opening: Callable[[float], Any], seen: list[str]) -> None:
    """A stream that is opened with a limit in seconds is too late after these outputs."""

    def call(limit: float) -> Any:
        try:
            return failure(caller, opening(limit), seen)
        except ApiTimeoutError as early:
            return ApiTimeoutError(f"too early: {early}")

    seconds, error = run_out("OK", call, "limit")
    assert_too_late(error, seconds)


def assert_too_late(error: Any, seconds: float) -> None:
    assert type(error) is ApiStreamTimeoutError
    assert isinstance(error, ApiTimeoutError)
    assert isinstance(error, TimeoutError)
    assert seconds <= error.elapsed < seconds + GRACE


@pytest.mark.parametrize("limit", ["client", "call", "read"])
def test_a_stream_that_falls_silent(limit: str, caller: Any, server: Any) -> None:
    server.reply = server.hanging(CHUNKED + chunks(data("a"), end=False))

    def opening(seconds: float) -> Any:
        settings: dict[str, Any] = {
            "client": {"timeout": seconds},
            "call": {},
            "read": {"read_timeout": seconds},
        }[limit]
        client = caller.client(server.host, **settings)
        return opened(caller, client, **({"timeout": seconds} if limit == "call" else {}))

    assert_runs_out(caller, opening, ["a"])


DRIPS = {
    "without line ends": b" ",
    "comment without an end": b":",
}


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_a_slow_drip_is_no_sign_of_life(drip: bytes, caller: Any, server: Any) -> None:
    server.reply = server.dripping(CHUNKED + chunks(data("a"), end=False), chunks(drip, end=False))

    def opening(seconds: float) -> Any:
        return opened(caller, caller.client(server.host, timeout=seconds))

    assert_runs_out(caller, opening, ["a"])


def test_heartbeats_are_a_sign_of_life(caller: Any, server: Any) -> None:
    beats = 0

    def reply(request: Any, connection: socket.socket) -> None:
        nonlocal beats
        server.sending(CHUNKED)(request, connection)
        began = time.monotonic()
        while time.monotonic() - began < 1.3:
            if threading.Event().wait(0.05):
                return
            connection.sendall(chunks(b": beat\n\n", end=False))
            beats += 1
        connection.sendall(chunks(data("a")))

    server.reply = reply
    client = caller.client(server.host, timeout=1)
    assert outputs(caller.all(opened(caller, client))) == ["a"]
    assert beats > 2
    server.reply = server.dripping(CHUNKED, chunks(b": beat\n\n", end=False))
    assert_runs_out(caller, lambda seconds: opened(caller, client, timeout=seconds), [])


def test_events_are_no_reason_to_outlive_the_deadline_of_the_call(
    caller: Any, server: Any, client: Humanloop
) -> None:
    server.reply = server.dripping(CHUNKED, chunks(data("a"), end=False))

    def call(timeout: float) -> Any:
        with pytest.raises(ApiTimeoutError) as caught:
            caller.all(opened(caller, client, timeout=timeout))
        error: Any = caught.value
        return error if getattr(error, "events", ()) else ApiTimeoutError("too early")

    seconds, error = run_out("OK", call, "timeout")
    assert_too_late(error, seconds)


def test_the_reader_may_take_its_time(caller: Any, server: Any) -> None:
    server.send_raw(CHUNKED + chunks(data("a"), data("b")), then_close=False)
    client = caller.client(server.host, timeout=0.3)
    stream = opened(caller, client)
    caller.next(stream)
    threading.Event().wait(0.4)  # it is not the server that is slow
    assert outputs(caller.all(stream)) == ["b"]


def test_a_head_that_does_not_come(caller: Any, server: Any, client: Humanloop) -> None:
    server.reply = server.hanging()

    def call(timeout: float) -> ApiTimeoutError:
        with pytest.raises(ApiTimeoutError) as caught:
            opened(caller, client, timeout=timeout)
        return caught.value

    _, error = run_out("no complete answer within {} seconds (while *", call, "timeout")
    assert not isinstance(error, ApiStreamingException)  # there was no stream yet
    assert server.arrived(1) == error.tries == 1


# --- as in version 0.5 ---


STREAM_METHODS = [
    (f"{name.replace('configuration', 'config')}_stream", kind, arguments)
    for name, kind, arguments in SHORTCUTS
]


def run(client: Humanloop, main: Any) -> Any:
    async def whole() -> Any:
        async with client:
            return await main

    return asyncio.run(whole())


@pytest.fixture
def asynchronous(server: Any) -> Humanloop:
    return Humanloop("hl-key", server.host, timeout=10, retries=RetryPolicy(backoff=0.001))


@pytest.mark.parametrize("by", ["keys", "body"])
@pytest.mark.parametrize(
    ("name", "kind", "arguments"), STREAM_METHODS, ids=[s[0] for s in STREAM_METHODS]
)
def test_stream_methods(
    name: str,
    kind: str,
    arguments: dict[str, Any],
    by: str,
    server: Any,
    asynchronous: Humanloop,
) -> None:
    if kind == "chat":
        arguments = {**arguments, "messages": CHAT["messages"]}
    server.send_raw(CHUNKED + chunks(data("Hel", "lo"), b"data: [DONE]\n\n"))

    async def main() -> None:
        given = {"body": arguments} if by == "body" else arguments
        answer = await getattr(asynchronous, name)(**given)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        assert answer.response.status == 200
        pieces = [part async for part in answer.content]
        assert pieces == [{"output": "Hel", "id": "data_0"}, {"output": "lo", "id": "data_1"}]
        assert {type(value) for part in pieces for value in part.values()} == {str}

    run(asynchronous, main())
    assert server.requests[0].json == {**arguments, "stream": True}


def test_a_stream_method_raises_when_it_is_awaited(server: Any, asynchronous: Humanloop) -> None:
    server.answer({"detail": "no"}, status=401)

    async def main() -> None:
        call = asynchronous.chat_stream(**CHAT)
        assert asyncio.iscoroutine(call)
        with pytest.raises(exceptions.UnauthorizedError, match="no") as caught:
            await call
        assert isinstance(caught.value, ApiStreamingException)

    run(asynchronous, main())


def test_a_stream_method_raises_what_comes_later(server: Any, asynchronous: Humanloop) -> None:
    server.send_raw(CHUNKED + chunks(data("a"), b'data: {"detail": "no"}\n\n'))

    async def main() -> None:
        answer = await asynchronous.chat_stream(**CHAT)
        assert (await answer.content.__anext__())["output"] == "a"
        with pytest.raises(ApiStreamEventError, match="no"):
            await answer.content.__anext__()

    run(asynchronous, main())


@pytest.mark.parametrize("how", ["break", "aclose", "unread"])
def test_leaving_the_content_early(how: str, server: Any, asynchronous: Humanloop) -> None:
    gone = has_gone(server)

    async def main() -> None:
        answer = await asynchronous.chat_stream(**CHAT)
        if how == "aclose":
            await answer.content.__anext__()
            await answer.content.aclose()
        elif how == "break":
            async for _ in answer.content:
                break
        del answer
        assert await asyncio.to_thread(gone.wait, 10)

    run(asynchronous, main())


def test_a_stream_of_another_loop(server: Any, asynchronous: Humanloop) -> None:
    """A loop takes its streams with it: what is left of one can still be dropped and closed."""
    server.reply = server.hanging(CHUNKED + chunks(data("a"), end=False))
    with closing(asynchronous):
        stream = asyncio.run(asynchronous.achat(**CHAT, stream=True))
        asyncio.run(stream.aclose())
        del stream
        other = asyncio.run(asynchronous.achat(**CHAT, stream=True))
        del other


@pytest.mark.parametrize("kind", ["stream", "content"])
def test_a_wait_that_was_cancelled_does_not_look_like_the_end(
    kind: str, server: Any, asynchronous: Humanloop
) -> None:
    server.reply = server.hanging(CHUNKED + chunks(data("a"), end=False))

    async def main() -> None:
        if kind == "stream":
            events: Any = await asynchronous.achat(**CHAT, stream=True)
        else:
            events = (await asynchronous.chat_stream(**CHAT)).content
        await events.__anext__()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(events.__anext__(), 0.05)
        for _ in range(2):
            with pytest.raises(ApiStreamBrokenError, match="a wait for its next event was cancel"):
                await events.__anext__()
        await events.aclose()
        assert [event async for event in (await listed(asynchronous))] == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def listed(client: Humanloop) -> Any:
        server.send_raw(CHUNKED + chunks(DONE), then_close=False)
        return await client.achat(**CHAT, stream=True)

    asyncio.run(main())
    assert len(server.requests) == 2


LEAVING = """
import asyncio
from humanloop import Humanloop

async def first(events, how):
    async for event in events:
        if how == "break":
            break
        if how == "return":
            return
        raise KeyError

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # of a busy machine
    client = Humanloop("k", {host!r}, retries=0)
    chat = dict(messages=[{{"role": "user", "content": "hi"}}], model_config={{"model": "gpt-4"}})
    for how in ("break", "return", "raise"):
        for kind in ("stream", "content"):
            if kind == "stream":
                events = await client.achat(**chat, stream=True)
            else:
                events = (await client.chat_stream(**chat)).content
            try:
                await first(events, how)
            except KeyError:
                pass
            del events
            for _ in range(3):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {{asyncio.current_task()}}
    await client.aclose()

asyncio.run(main())
"""


def test_leaving_early_leaves_no_task_and_no_warning(server: Any) -> None:
    server.reply = server.hanging(CHUNKED + chunks(data("a"), end=False))
    program = [sys.executable, "-X", "dev", "-W", "error", "-c", LEAVING.format(host=server.host)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (len(server.requests), server.connections) == (6, 6)
