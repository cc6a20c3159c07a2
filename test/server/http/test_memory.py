"""Memory: what large bodies, many of them, large pages and slow readers may take."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prepared import prepare

from humanloop.server import EmbeddedServer, Settings

from ..api import API_KEY, Api
from ..chatting import chat

JSON = "application/json"
MIB = 1024 * 1024
LOG = {"project": "p", "config": {"model": "m"}}
SETTINGS = Settings(max_body_values=1000)


@pytest.fixture(scope="module")
def few() -> Iterator[Api]:
    """A server that takes 1,000 values in a body."""
    with EmbeddedServer(api_key=API_KEY, settings=SETTINGS) as server:
        yield Api(server.url)


class TestValues:
    """The limit on values in a body."""

    @pytest.mark.parametrize(
        "value",
        [
            [[]] * 20_000,
            [{}] * 20_000,
            [1] * 40_000,
            ["a"] * 20_000,
            {str(number): 1 for number in range(10_000)},
            ["\\", '"', '\\"', ","] * 10_000,
            [[1, "x"]] * 20_000,
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_too_many_are_413(self, few: Api, value: Any) -> None:
        body = json.dumps({**LOG, "inputs": {"x": value}}).encode()
        answer = few.send("POST", "/logs", body, content_type=JSON)
        assert answer.status == 413
        assert answer.body == {"detail": "The body holds over 1,000 values; send it in parts."}

    @pytest.mark.parametrize(
        "text", ["a, [b], {c}" * 10_000, '\\",[{\\' * 20_000, '"' * 80_000, "\\" * 80_001, "x"]
    )
    def test_what_is_in_a_string_is_not_counted(self, few: Api, text: str) -> None:
        padding = "y" * 100_000
        few.ok("POST", "/logs", {**LOG, "output": text, "inputs": {text[:99]: text, "p": padding}})

    def test_as_many_as_allowed_are_taken(self, few: Api) -> None:
        few.ok("POST", "/logs", {**LOG, "output": "x" * 100_000, "inputs": {"x": [1] * 990}})


def test_a_body_with_very_many_errors_tells_of_a_thousand(api: Api) -> None:
    body = [{**LOG, "output": 1, "messages": [{}]}] * 3000
    assert len(api.places("POST", "/logs", body)) == 1000


def test_samples_multiply_no_large_body(api: Api, name: str) -> None:
    text = "x" * 400_000
    message = {"role": "user", "content": text}
    body = chat(name, messages=[message], num_samples=100)
    assert api.places("POST", "/chat", body) == [["body", "num_samples"]]
    assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 0
    assert len(api.ok("POST", "/chat", {**body, "num_samples": 2})["data"]) == 2


def start_upload(server: EmbeddedServer, size: int) -> socket.socket:
    """A connection on which half of a body of some MiB was sent."""
    address = ("127.0.0.1", urlsplit(server.url).port or 0)
    connection = socket.create_connection(address, 60)
    head = (
        f"POST /v4/logs HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {API_KEY}\r\n"
        f"Content-Type: {JSON}\r\nContent-Length: {size * MIB}\r\n\r\n"
    )
    connection.sendall(head.encode() + b" " * (size * MIB // 2))
    return connection


class TestTogether:
    """Many large bodies at once."""

    def test_one_without_room_waits_and_is_503_in_the_end(self) -> None:
        settings = Settings(memory_bytes=16 * MIB, queue_seconds=0.3)
        body = json.dumps({**LOG, "output": "x" * 2 * MIB}).encode()
        with EmbeddedServer(api_key=API_KEY, settings=settings) as server:
            api = Api(server.url)
            with closing(start_upload(server, 4)):  # takes all the memory for uploads
                for _ in range(50):  # until the waiting upload was read
                    answer = api.send("POST", "/logs", body, content_type=JSON)
                    if answer.status != 200:
                        break
                assert answer.status == 503
                assert answer.headers["Retry-After"] == "1"
                api.ok("POST", "/logs", {**LOG, "output": "small"})
            assert api.send("POST", "/logs", body, content_type=JSON).status == 200

    def test_it_goes_on_when_there_is_room(self) -> None:
        settings = Settings(memory_bytes=16 * MIB)
        body = json.dumps({**LOG, "output": "x" * 2 * MIB}).encode()
        with EmbeddedServer(api_key=API_KEY, settings=settings) as server:
            api = Api(server.url)
            with ThreadPoolExecutor(8) as pool, closing(start_upload(server, 4)) as first:
                waiting = [
                    pool.submit(api.send, "POST", "/logs", body, content_type=JSON)
                    for _ in range(8)
                ]
                first.close()
                assert [each.result().status for each in waiting] == [200] * 8

    def test_one_that_is_larger_than_all_runs_alone(self) -> None:
        settings = Settings(memory_bytes=MIB)
        with EmbeddedServer(api_key=API_KEY, settings=settings) as server:
            api = Api(server.url)
            with ThreadPoolExecutor(4) as pool:
                sent = [pool.submit(api.log, "p", output="x" * 4 * MIB) for _ in range(4)]
                assert len({each.result()["id"] for each in sent}) == 4

    def test_a_body_that_says_that_it_is_too_large_is_not_waited_for(self) -> None:
        settings = Settings(max_body_bytes=MIB)
        with (
            EmbeddedServer(api_key=API_KEY, settings=settings) as server,
            closing(start_upload(server, 4)) as upload,
        ):
            assert upload.recv(100).startswith(b"HTTP/1.1 413")


class TestPages:
    """Pages of large records."""

    def test_its_portions_are_one_page(self, api: Api, name: str) -> None:
        outputs = [f"{number} " + "x" * (number % 7) * 150_000 for number in range(20)]
        for output in outputs:
            project_id = api.log(name, output=output)["project_id"]
        page = api.export(project_id, "?size=15")
        assert [each["output"] for each in page["records"]] == outputs[:4:-1]
        assert (page["page"], page["size"], page["total"]) == (0, 15, 20)
        rest = api.export(project_id, "?size=15&page=1")
        assert [each["output"] for each in rest["records"]] == outputs[4::-1]
        assert api.export(project_id, "?size=15&page=2")["records"] == []

    def test_a_log_has_its_parents_reference(self, api: Api, name: str) -> None:
        api.log(name, reference_id=f"parent of {name}", output="x")
        logged = api.log(name, parent_reference_id=f"parent of {name}")
        [record, _] = api.export(logged["project_id"])["records"]
        assert record["parent_reference_id"] == f"parent of {name}"

    def test_sessions_with_large_inputs_are_one_page(self, api: Api, name: str) -> None:
        inputs = {"x": "y" * 700_000}
        for number in range(3):
            reference = f"{name} {number}"
            logged = api.log(name, session_reference_id=reference, inputs=inputs)
        page = api.ok("GET", f"/sessions?project_id={logged['project_id']}")
        assert [each["first_inputs"] for each in page["records"]] == [inputs] * 3


PROGRAM = """
import sys
from humanloop.server import EmbeddedServer, Settings
settings = Settings(memory_bytes=64 * 1024 * 1024, queue_seconds=60)
with EmbeddedServer(sys.argv[1], api_key=sys.argv[2], settings=settings) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


class Child:
    """A server in a process of its own, whose memory is measured."""

    def __init__(self, stack: ExitStack, url: str) -> None:
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, url, API_KEY],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        stack.callback(self._process.stdin.close)
        self.url = self._process.stdout.readline().strip()
        self.api = Api(self.url)
        self._before = self._peak()

    def _peak(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) // 1024

    @property
    def grown(self) -> int:
        """By how many MiB its memory has grown at most."""
        return self._peak() - self._before


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A server in a process of its own."""
    prepare(tmp_path / "own.db")
    with ExitStack() as stack:
        yield Child(stack, f"sqlite:///{tmp_path / 'own.db'}")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak there")
class TestPeak:
    """How much memory the server's process takes at most."""

    @pytest.mark.parametrize("item", ["1", "[]", '"ab"', "{}"])
    def test_of_a_large_body_of_small_values(self, child: Child, item: str) -> None:
        items = ",".join([item] * (20_000_000 // (len(item) + 1)))
        body = f'{{"project": "p", "config": {{"model": "m"}}, "inputs": {{"x": [{items}]}}}}'
        answer = child.api.send("POST", "/logs", body.encode(), content_type=JSON)
        assert answer.status == 413
        assert child.grown < 150

    def test_of_a_body_with_many_errors(self, child: Child) -> None:
        body = f"[{','.join(['1'] * 300_000)}]".encode()
        assert child.api.send("POST", "/logs", body, content_type=JSON).status == 422
        assert child.grown < 300

    def test_of_large_bodies_at_once(self, child: Child) -> None:
        with ThreadPoolExecutor(16) as pool:
            sent = [pool.submit(child.api.log, "p", output="x" * 10_000_000) for _ in range(16)]
            assert len({each.result()["id"] for each in sent}) == 16
        assert child.grown < 200

    def test_of_many_configs_with_large_templates(self, child: Child) -> None:
        for number in range(60):
            config = {"model": f"m{number}", "prompt_template": "x" * 1_000_000}
            project_id = child.api.log("p", config=config)["project_id"]
        before = child.grown
        listed = child.api.ok("GET", f"/projects/{project_id}/configs")
        assert len(listed) == 60
        assert child.grown - before < 40

    def test_of_large_pages_and_readers_that_take_nothing(self, child: Child) -> None:
        for _ in range(50):
            project_id = child.api.log("p", output="x" * 1_000_000)["project_id"]
        assert len(child.api.export(project_id)["records"]) == 50
        head = (
            f"POST /v4/projects/{project_id}/export?size=50 HTTP/1.1\r\n"
            f"Host: localhost\r\nX-API-KEY: {API_KEY}\r\n\r\n"
        )
        address = ("127.0.0.1", urlsplit(child.url).port or 0)
        with ExitStack() as stack:
            readers = [socket.create_connection(address, 60) for _ in range(6)]
            for reader in readers:
                stack.callback(reader.close)
                reader.sendall(head.encode())
            assert {reader.recv(12) for reader in readers} == {b"HTTP/1.1 200"}
        assert child.grown < 200
