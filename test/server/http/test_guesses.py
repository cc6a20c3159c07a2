"""Wrong API keys, one after another."""

from __future__ import annotations

import select
import socket
import time
import tracemalloc
from contextlib import closing
from urllib.parse import urlsplit

from humanloop.server import EmbeddedServer, Settings
from humanloop.server.http.guesses import Guesses

from ..api import API_KEY, Api

_FREE = 10


def test_many_wrong_keys_are_answered_later_and_a_right_one_at_once(database_url: str) -> None:
    settings = Settings(guess_seconds=20)
    with EmbeddedServer(database_url, api_key=API_KEY, settings=settings) as server:
        guesser, owner = Api(server.url, "guess"), Api(server.url)
        for _ in range(_FREE):
            assert guesser.call("GET", "/projects").status == 401
        address = ("127.0.0.1", urlsplit(server.url).port or 0)
        head = b"GET /v4/projects HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: guess\r\n\r\n"
        with closing(socket.create_connection(address, 60)) as waiting:
            started = time.monotonic()
            waiting.sendall(head)
            assert owner.call("GET", "/projects").status == 200
            assert select.select([waiting], [], [], 0)[0] == []
            assert waiting.recv(100).startswith(b"HTTP/1.1 401")
            assert time.monotonic() - started >= 2


def test_a_missing_key_is_no_guess(database_url: str) -> None:
    settings = Settings(guess_seconds=1000)
    with EmbeddedServer(database_url, api_key=API_KEY, settings=settings) as server:
        api = Api(server.url, key=None)
        assert {api.call("GET", "/projects").status for _ in range(_FREE + 5)} == {401}


def test_each_peer_waits_for_itself_up_to_a_limit() -> None:
    guesses = Guesses(longest=2)
    delays = [guesses.delay("10.0.0.1") for _ in range(_FREE + 30)]
    assert delays[:_FREE] == [0] * _FREE
    assert delays == sorted(delays)
    assert delays[_FREE] > 0
    assert delays[-1] == 2
    assert guesses.delay("10.0.0.2") == 0
    for number in range(_FREE):
        assert guesses.delay(f"2001:db8::{number:x}") == 0
    assert guesses.delay("2001:db8::ffff:1") > 0
    assert guesses.delay("2001:db8:0:1::1") == 0
    assert guesses.delay("::ffff:10.0.0.1") == guesses.delay("::ffff:10.0.0.2") == 0


def test_the_memory_for_peers_is_bounded() -> None:
    guesses = Guesses(longest=2)
    for number in range(10_000):
        guesses.delay(f"10.0.{number // 256}.{number % 256}")
    tracemalloc.start()
    for number in range(50_000):
        guesses.delay(f"10.1.{number // 256}.{number % 256}")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 3_000_000
