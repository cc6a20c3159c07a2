"""The life of a client: threads, loops, forks, and ends of all kinds; nothing is left open."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import wait_for_pages

from humanloop import (
    ApiConnectionError,
    ApiException,
    ApiStreamingException,
    ApiTimeoutError,
    ApiTypeError,
    ClientConfigurationError,
    Humanloop,
    NotFoundError,
    SchemaValidationError,
)

CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "model_config": {"model": "gpt-4"},
}


def listing(caller: Any, client: Humanloop) -> Any:
    return caller(client.projects.list, skip_deserialization=True).body


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def test_one_client_in_eight_threads(server: Any) -> None:
    server.answer({"id": "sesh_1"})
    with Humanloop("k", server.host, timeout=10) as client, ThreadPoolExecutor(8) as pool:
        # Even the first use, which makes what is made lazily, is from all of them at once.
        barrier = threading.Barrier(8)

        def work(number: int) -> list[str]:
            barrier.wait()
            return [client.sessions.create().body.id for _ in range(10)]

        bodies = [body for listed in pool.map(work, range(8)) for body in listed]
    assert bodies == ["sesh_1"] * 80
    assert len(server.requests) == 80
    assert server.connections <= 8


def test_one_client_in_the_loops_of_several_threads(server: Any) -> None:
    async def main(client: Humanloop) -> None:
        for _ in range(3):
            await asyncio.gather(
                *(client.projects.alist(skip_deserialization=True) for _ in range(3))
            )

    with Humanloop("k", server.host, timeout=10) as client, ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(asyncio.run, main(client)) for _ in range(4)]:
            done.result(20)
    assert len(server.requests) == 36
    assert server.connections <= 12


def test_threads_and_loops_at_once(server: Any) -> None:
    async def main(client: Humanloop) -> None:
        await client.projects.alist(skip_deserialization=True)
        client.projects.list(skip_deserialization=True)

    with Humanloop("k", server.host, timeout=10) as client:
        asyncio.run(main(client))
        client.projects.list(skip_deserialization=True)
    assert (len(server.requests), server.connections) == (3, 2)


def test_closing_is_no_end(caller: Any, server: Any) -> None:
    client = caller.client(server.host)
    caller.close(client)
    for _ in range(3):
        assert listing(caller, client) == {}
        for _ in range(2):
            caller.close(client)
    assert server.connections == 3


def test_closing_the_other_way(server: Any) -> None:
    """`close` in a loop, and `aclose` after synchronous calls, close it all, too."""

    async def main(client: Humanloop) -> None:
        await client.projects.alist(skip_deserialization=True)
        client.close()
        await client.projects.alist(skip_deserialization=True)
        client.projects.list(skip_deserialization=True)
        await client.aclose()
        await client.aclose()

    asyncio.run(main(Humanloop("k", server.host)))
    assert server.connections == 3


def test_one_loop_after_another_leaves_no_socket(server: Any, new_sockets: Any) -> None:
    client = Humanloop("k", server.host, timeout=10)

    async def main() -> None:
        for _ in range(2):
            await client.projects.alist(skip_deserialization=True)

    for _ in range(5):
        asyncio.run(main())
    client.close()
    # Each loop had a connection of its own, which the server's side may be yet to close.
    assert server.connections == 5
    server.close()
    assert new_sockets() == set()


def test_closing_from_another_loop(server: Any) -> None:
    client = Humanloop("k", server.host, timeout=10)
    called, closed = threading.Event(), threading.Event()

    async def use() -> None:
        await client.projects.alist(skip_deserialization=True)
        called.set()
        while not closed.is_set():
            await asyncio.sleep(0.005)
        await client.projects.alist(skip_deserialization=True)
        await client.aclose()

    with ThreadPoolExecutor(1) as pool:
        used = pool.submit(asyncio.run, use())
        assert called.wait(10)
        asyncio.run(client.aclose())
        closed.set()
        used.result(10)
    assert server.connections == 2


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_shares_no_socket_with_its_parent(caller: Any, server: Any) -> None:
    client = caller.client(server.host)
    listing(caller, client)
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            if caller.kind == "sync":
                listing(caller, client)
                client.close()
            else:

                async def main() -> None:
                    async with client:
                        await client.projects.alist(skip_deserialization=True)

                asyncio.run(main())
            code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    listing(caller, client)  # the child has closed what it had, and not this
    assert len(server.requests) == 3
    assert server.connections == 2


SCRIPTS = {
    "synchronous calls": """
client.projects.list(skip_deserialization=True)
pages = client.projects.iterate_list(size=1); print(next(iter(pages)))
stream = client.chat(**CHAT, stream=True); next(stream)
next(client.chat(**CHAT, stream=True))
try: client.projects.get('no')
except Exception as error: kept = error
""",
    "asynchronous calls": """
asyncio.run(apages()); asyncio.run(apages())
asyncio.run(astream(1))
stream = asyncio.run(astream(0))
asyncio.run(outputs())
""",
    "both ways": """
client.projects.list(skip_deserialization=True)
asyncio.run(apages())
stream = asyncio.run(astream(1))
other = client.chat(**CHAT, stream=True)
""",
}
PRELUDE = """
import asyncio, sys
from humanloop import ApiTypeError, Humanloop
client = Humanloop("k", sys.argv[1], timeout=10)
CHAT = {"messages": [{"role": "user", "content": "hi"}], "model_config": {"model": "gpt-4"}}
async def apages():
    async for project in client.projects.aiterate_list(size=1):
        print(project)
        return
async def astream(read):
    stream = await client.achat(**CHAT, stream=True)
    for _ in range(read):
        await stream.__anext__()
    return stream
async def outputs():
    response = await client.chat_stream(**CHAT)
    async for piece in response.content:
        break
"""
PROJECT = {
    "id": "pr_1",
    "name": "p",
    "users": [],
    "data_count": 1,
    "feedback_types": [],
    "team_id": "tm_1",
    "created_at": "2024-02-29T12:30:00Z",
    "updated_at": "2024-02-29T12:30:00Z",
}

RECORDS = json.dumps({"records": [PROJECT] * 2, "page": 0, "size": 1, "total": 99}).encode()
JSON = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
PAGE = b"HTTP/1.1 200 OK\r\n" + JSON % (len(RECORDS), RECORDS)
MISSING = b"HTTP/1.1 404 Not Found\r\n" + JSON % (2, b"{}")
EVENT = b'data: {"data": [{"id": "d", "index": 0, "output": "o", "raw_output": "o",'
EVENT += b' "inputs": {}, "model_config_id": "c"}], "provider_responses": []}\n\n'


def begun_stream(events: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked"
    return head + b"\r\n\r\n%x\r\n%b\r\n" % (len(events), events)


@pytest.fixture
def busy(server: Any) -> Any:
    """A server of endless pages, and of streams that never end."""

    def reply(recorded: Any, connection: socket.socket) -> None:
        if recorded.path.endswith("/chat"):
            connection.sendall(begun_stream(EVENT))
        elif recorded.path.endswith("/no"):
            connection.sendall(MISSING)
        else:
            connection.sendall(PAGE)

    server.reply = reply
    return server


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_an_interpreter_ends_silently_whatever_was_left_open(script: str, busy: Any) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + script, busy.host]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    # The debug mode of asyncio tells of whatever takes long, as the first import of aiohttp may.
    complaints = re.sub(r"^Executing <.*> took [0-9.]+ seconds\n", "", run.stderr, flags=re.M)
    assert (run.returncode, complaints) == (0, "")


def test_the_import_leaves_logging_alone() -> None:
    script = (
        "import logging\n"
        "def state():\n"
        "    loggers = [logging.getLogger(n) for n in ('', 'humanloop', 'humanloop.wire')]\n"
        "    return [(l.level, l.handlers, l.propagate, l.disabled, l.filters) for l in loggers]\n"
        "before = state()\n"
        "import humanloop\n"
        "client = humanloop.Humanloop('k')\n"
        "client.api_client, client.projects, client.api_client.transport\n"
        "client.api_client.async_transport\n"
        "assert state() == before, state()\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "HUMANLOOP_LOG"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment
    )
    assert (run.returncode, run.stderr) == (0, "")


CHAT_ANSWER = b'{"data": [], "provider_responses": []}'


def test_a_thousand_calls_at_once(new_sockets: Any) -> None:
    """On one client, against a server in the same loop; then no socket is open."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    answer %= (len(CHAT_ANSWER), CHAT_ANSWER)
    served = connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served, connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                await reader.readexactly(int(length))
                served += 1
                writer.write(answer)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
        host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v4"
        async with Humanloop("k", host, timeout=60) as client:
            calls = (client.achat(**CHAT, idempotent=True) for _ in range(1000))
            responses = await asyncio.gather(*calls)
        assert {response.status for response in responses} == {200}
        assert all(response.body.data == () for response in responses)
        server.close()

    asyncio.run(main())
    assert served == 1000
    assert connections <= 100
    assert new_sockets() == set()


# --- other loops, and what is left of errors ---


def test_without_asyncio(server: Any) -> None:
    """Whatever else runs a coroutine, trio for one, does as this: asyncio is not at work."""
    with Humanloop("k", server.host, event_hooks={"request": [asyncio.sleep]}) as client:
        for coroutine in (
            client.projects.alist(),
            client.achat(**CHAT, stream=True),
            client.projects.aiterate_list().__anext__(),
        ):
            with pytest.raises(ClientConfigurationError, match="asynchronous calls need asyncio"):
                coroutine.send(None)
    assert server.requests == []


def refused(server: Any) -> dict[str, Any]:
    server.send_raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    return {"host": server.host}


def broken(server: Any) -> dict[str, Any]:
    server.send_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
    return {"host": server.host}


def late(server: Any) -> dict[str, Any]:
    server.reply = server.hanging()
    return {"host": server.host, "timeout": 0.05}


def not_there(server: Any) -> dict[str, Any]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return {"host": f"http://127.0.0.1:{listener.getsockname()[1]}"}


def unknown_host(server: Any) -> dict[str, Any]:
    return {"host": "http://no-such-host.invalid"}


every_failure = pytest.mark.parametrize("prepare", [refused, broken, late, not_there, unknown_host])


def cycles_of(caller: Any, action: Callable[[], object]) -> list[str]:
    """Return what only the garbage collector can free after an action, in each of some tries.

    The first try imports and makes what stays. Other threads of this process, such as those of a
    server, leave cycles now and then. A transport of asyncio that was closed is one of its own. It
    may hold an error that nobody raised, and which has no traceback.
    """
    parts_of_errors = types.FrameType, types.TracebackType, types.CoroutineType
    kinds = object if caller.kind == "sync" else parts_of_errors
    for _ in range(6):
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            action()
            action()
            gc.collect()
            left = [repr(each) for each in gc.garbage if isinstance(each, kinds)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        if not left:
            break
    return left


@every_failure
@pytest.mark.parametrize("hooks", [{}, {"error": [lambda *_: None]}], ids=["", "hook"])
def test_a_failed_call_leaves_no_cycle(
    hooks: dict[str, Any], prepare: Any, caller: Any, server: Any
) -> None:
    client = caller.client(**{"retries": 0, "event_hooks": hooks, **prepare(server)})

    def fail() -> None:
        with contextlib.suppress(ApiException, ApiConnectionError):
            caller(client.projects.list, connect_timeout=5.0)
        with contextlib.suppress(SchemaValidationError):
            caller(client.projects.get, id=5)

    assert cycles_of(caller, fail) == []


@pytest.mark.parametrize("fault", ["end", "silence", "long event"])
@pytest.mark.parametrize("read_on", [True, False])
def test_a_broken_stream_leaves_no_cycle(
    read_on: bool, fault: str, caller: Any, server: Any
) -> None:
    begun = begun_stream(EVENT + b"data: " + b"x" * (2000 if fault == "long event" else 0))
    server.reply = (
        server.hanging(begun) if fault == "silence" else server.sending(begun, then_close=True)
    )
    read_timeout = 0.05 if fault == "silence" else 10
    client = caller.client(server.host, read_timeout=read_timeout, max_response_bytes=1000)
    errors = ApiStreamingException, ApiTimeoutError  # the latter if it is late to begin

    def read() -> None:
        if caller.kind == "async":
            caller.run(aread())
            return
        with contextlib.suppress(*errors):
            for _ in client.chat(**CHAT, stream=True):
                if not read_on:
                    break

    async def aread() -> None:
        with contextlib.suppress(*errors):
            async for _ in await client.achat(**CHAT, stream=True):
                if not read_on:
                    break

    assert cycles_of(caller, read) == []


@pytest.mark.parametrize("then", ["read on", "close", "drop"])
def test_a_page_that_failed_ahead_leaves_no_cycle(then: str, caller: Any, server: Any) -> None:
    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(MISSING if "page=1" in request.query else PAGE)

    def read() -> None:
        pages = caller.twin(client.projects.iterate_list)(page=0, size=1)
        caller.next(pages)
        wait_for_pages(caller)
        if then == "read on":
            with contextlib.suppress(NotFoundError):
                caller.all(pages)
        elif then == "close":
            caller.close(pages)

    server.reply = reply
    client = caller.client(server.host)
    assert cycles_of(caller, read) == []
    assert sum("page=1" in request.query for request in server.requests) >= 2


@pytest.mark.parametrize("caller", ["sync"], indirect=True)  # asyncio's own TLS has some
def test_a_client_by_tls_leaves_no_cycle(caller: Any, tls_server: Any, trusting: Any) -> None:
    def use() -> None:
        with Humanloop(host=tls_server.host, **trusting) as client:
            client.projects.list(skip_deserialization=True)

    assert cycles_of(caller, use) == []


def test_leaving_pages_early_leaves_no_cycle(caller: Any, busy: Any) -> None:
    client = caller.client(busy.host)
    iterate = caller.twin(client.projects.iterate_list)
    assert cycles_of(caller, lambda: caller.next(iterate(size=1))) == []


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_pages_go_on_in_a_forked_child(caller: Any, server: Any) -> None:
    """The child has no thread, and no loop, that fetches the page which was asked for ahead."""
    arrived, go_on = threading.Event(), threading.Event()

    def page(number: int) -> bytes:
        body = {"records": [{**PROJECT, "id": f"pr_{number}"}], "page": number, "size": 1}
        data = json.dumps({**body, "total": 3}).encode()
        return b"HTTP/1.1 200 OK\r\n" + JSON % (len(data), data)

    def reply(request: Any, connection: socket.socket) -> None:
        number = int(request.query.partition("page=")[2][:1] or 0)
        if number == 1 and not arrived.is_set():
            arrived.set()
            assert go_on.wait(30)
        connection.sendall(page(number))

    server.reply = reply
    client = caller.client(server.host, timeout=30)
    arguments = {"page": 0, "size": 1}
    if caller.kind == "sync":
        pages = client.projects.iterate_list(**arguments)
        first = next(pages).id
        assert arrived.wait(10)
    else:
        pages = client.projects.aiterate_list(**arguments)
        first = caller.run(anext(pages)).id
        while not arrived.is_set():
            caller.run(asyncio.sleep(0.001))

    async def rest() -> list[str]:
        return [record.id async for record in pages]

    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            ids = [r.id for r in pages] if caller.kind == "sync" else asyncio.run(rest())
            code = 0 if ids == ["pr_1", "pr_2"] else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go_on.set()
    ids = [r.id for r in pages] if caller.kind == "sync" else caller.run(rest())
    assert [first, *ids] == ["pr_0", "pr_1", "pr_2"]
    asked = sorted(request.query.partition("page=")[2][:1] for request in server.requests)
    assert asked == ["0", "1", "1", "2", "2"]


COPIES: dict[str, Any] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "with_options": lambda value: value.with_options(),
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("calls_before", [0, 1])
def test_copies_of_a_client(calls_before: int, make: Any, caller: Any, server: Any) -> None:
    """They are the same before and after its first call."""
    client = caller.client(server.host, openai_api_key="k-openai", proxy_headers={"X": "y"})
    client.api_client.set_default_header("X-Job", "nightly")
    for _ in range(calls_before):
        listing(caller, client)
    duplicate = make(client)
    caller.clients.append(duplicate)
    assert type(duplicate) is Humanloop
    assert duplicate.projects.api_client is duplicate.api_client is not client.api_client
    duplicate.configuration.timeout = 7
    duplicate.configuration.api_key["APIKeyHeader"] = "another"
    duplicate.api_client.set_default_header("X-Own", "1")
    assert client.configuration.timeout == 10
    assert duplicate.configuration.openai_api_key == "k-openai"
    for each in (duplicate, client):
        listing(caller, each)
    of_copy, of_client = (request.headers for request in server.requests[-2:])
    assert (of_copy["X-API-KEY"], of_client["X-API-KEY"]) == ("another", "hl-key")
    assert (of_copy["X-Job"], of_client["X-Job"]) == ("nightly", "nightly")
    assert "X-Own" not in of_client
    shared = make in (copy.copy, COPIES["with_options"])
    assert server.connections == (1 if shared else 2)
    assert (duplicate.api_client.transport is client.api_client.transport) == shared


@pytest.mark.parametrize("make", [COPIES[name] for name in ("copy", "deepcopy", "pickle")])
def test_copies_of_its_parts(make: Any, server: Any) -> None:
    with Humanloop("k", server.host, timeout=7) as client:
        configuration = make(client.configuration)
        assert (configuration.timeout, configuration.api_key) == (7, client.configuration.api_key)
        configuration.api_key["APIKeyHeader"] = "other"
        assert client.configuration.api_key["APIKeyHeader"] == "k"
        with make(client.api_client) as api_client:
            assert api_client.configuration.timeout == 7
        with make(client.projects).api_client as of_tag:
            assert of_tag.configuration.host == server.host


@pytest.mark.parametrize("calls_before", [0, 1])
def test_what_can_not_be_pickled(calls_before: int, server: Any) -> None:
    with Humanloop("k", server.host, on_drift=lambda report: None) as client:
        for _ in range(calls_before):
            client.projects.list(skip_deserialization=True)
        with pytest.raises(ApiTypeError, match=r"with on_drift=.* can't be pickled"):
            pickle.dumps(client)
        for make in (copy.copy, copy.deepcopy):
            with make(client) as duplicate:
                assert duplicate.configuration.on_drift is client.configuration.on_drift
