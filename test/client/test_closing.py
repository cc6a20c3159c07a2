"""Closing a client, or a stream, while somebody else is using it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from humanloop import (
    ApiStreamBrokenError,
    ClientClosedError,
    ClientConfigurationError,
    Humanloop,
)
from humanloop.testing import TestTransport, sample

CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "model_config": {"model": "gpt-4"},
}
PATIENCE = 30.0


@pytest.fixture
def streaming(server: Any) -> threading.Event:
    """A server that sends one event, then nothing; the event tells that it was left."""
    from humanloop.schemas import to_json

    left = threading.Event()
    event = f"data: {to_json(sample('chats.create'))}\n\n".encode()

    def reply(request: Any, connection: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        connection.sendall(head + event)
        assert connection.recv(1) == b""
        left.set()

    server.reply = reply
    return left


def test_a_stream_that_another_thread_closes(
    server: Any, client: Humanloop, streaming: threading.Event
) -> None:
    stream = client.chat(**CHAT, stream=True)
    next(stream)
    errors: list[BaseException] = []
    waiting = threading.Event()

    def read() -> None:
        waiting.set()
        try:
            next(stream)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert waiting.wait(PATIENCE)
    while not stream._busy:
        time.sleep(0.001)
    stream.close()
    assert streaming.wait(PATIENCE)
    thread.join(PATIENCE)
    [error] = errors
    # The thread may not have begun to read from the socket when the stream was closed.
    assert isinstance(error, (ApiStreamBrokenError, StopIteration))
    assert list(stream) == []


def test_a_stream_has_one_reader_at_a_time(server: Any, streaming: threading.Event) -> None:
    async def main() -> None:
        async with Humanloop("hl-key", server.host, timeout=PATIENCE) as client:
            stream = await client.achat(**CHAT, stream=True)
            await anext(stream)
            first = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="somebody else is waiting"):
                await anext(stream)
            assert not first.done()
            await stream.aclose()
            with pytest.raises(ApiStreamBrokenError, match="the stream was closed"):
                await first

    asyncio.run(main())
    assert streaming.wait(PATIENCE)


def test_a_stream_of_a_client_that_was_closed_does_not_end_as_if_it_were_whole(
    server: Any, streaming: threading.Event
) -> None:
    async def main() -> None:
        client = Humanloop("hl-key", server.host, timeout=PATIENCE)
        stream = await client.achat(**CHAT, stream=True)
        await anext(stream)
        await client.aclose()
        with pytest.raises(ApiStreamBrokenError, match="the client was closed") as caught:
            await anext(stream)
        assert len(caught.value.events) == 1

    asyncio.run(main())


def test_a_call_that_the_end_of_the_client_cuts_off_is_not_tried_again(server: Any) -> None:
    arrived = threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        arrived.set()
        connection.recv(1)

    server.reply = reply

    async def main() -> None:
        async with Humanloop("hl-key", server.host, timeout=PATIENCE) as client:
            call = asyncio.create_task(client.projects.alist())
            assert await asyncio.to_thread(arrived.wait, PATIENCE)
        with pytest.raises(ClientClosedError, match="the client was closed") as caught:
            await call
        assert (caught.value.tries, caught.value.sent) == (1, True)

    asyncio.run(main())
    assert len(server.requests) == 1


def test_a_synchronous_call_that_outlives_the_client_keeps_no_connection(
    server: Any, new_sockets: Any
) -> None:
    arrived, closed = threading.Event(), threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        arrived.set()
        assert closed.wait(PATIENCE)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        )

    server.reply = reply
    client = Humanloop("hl-key", server.host, timeout=PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.projects.list, skip_deserialization=True)
        assert arrived.wait(PATIENCE)
        client.close()
        closed.set()
        assert call.result(PATIENCE).body == {}
    server.close()
    assert new_sockets() == set()


@pytest.mark.parametrize("rounds", range(5))
@pytest.mark.parametrize("how", ["close", "aclose"])
def test_closing_while_a_call_connects(how: str, rounds: int, server: Any) -> None:
    complaints: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        client = Humanloop("hl-key", server.host, timeout=PATIENCE)
        call = asyncio.create_task(client.projects.alist(skip_deserialization=True))
        for _ in range(rounds):
            await asyncio.sleep(0)
        if how == "close":
            client.close()
        else:
            await client.aclose()
        [outcome] = await asyncio.gather(call, return_exceptions=True)
        assert isinstance(outcome, ClientClosedError) or outcome.body == {}
        assert (await client.projects.alist(skip_deserialization=True)).body == {}
        await client.aclose()

    asyncio.run(main())
    assert complaints == []


def test_a_call_may_begin_while_the_client_is_being_closed(server: Any) -> None:
    async def main() -> None:
        client = Humanloop("hl-key", server.host, timeout=PATIENCE)
        await client.projects.alist(skip_deserialization=True)
        for rounds in range(4):
            closing = asyncio.create_task(client.aclose())
            for _ in range(rounds):
                await asyncio.sleep(0)
            answer = await asyncio.gather(
                client.projects.alist(skip_deserialization=True), return_exceptions=True
            )
            await closing
            # What began before the end is cut off; what began after it is not.
            assert isinstance(answer[0], ClientClosedError) or answer[0].body == {}
            assert rounds == 0 or not isinstance(answer[0], BaseException)
        await client.aclose()

    asyncio.run(main())


def test_who_replaces_one_transport_is_not_sent_to_the_network_by_the_other() -> None:
    sync_only: Any = TestTransport()

    class Synchronous:
        def send(self, request: Any) -> Any:
            return sync_only.send(request)

        def close(self) -> None:
            pass

    with Humanloop("hl-key", transport=Synchronous()) as client:
        assert client.projects.list().status == 200
        with pytest.raises(ClientConfigurationError, match="async_transport="):
            asyncio.run(client.projects.alist())
    with (
        Humanloop("hl-key", async_transport=sync_only.asynchronous) as client,
        pytest.raises(ClientConfigurationError, match="transport="),
    ):
        client.projects.list()
