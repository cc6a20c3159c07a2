"""Traced functions, from the decorator to the server's records."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from humanloop import Flushed, NotFoundError, SchemaValidationError
from humanloop.spool import delivery

from .conftest import LOG, Place
from .test_processes import program


def test_what_functions_do_is_nested_on_the_server(place: Place) -> None:
    client = place.client()

    @client.traced(project="p")
    def find(text: str) -> list[str]:
        return [text]

    @client.traced(project="p")
    async def answer(text: str) -> str:
        with_id = client.log_later(**LOG, output="a call of a model")
        client.feedback_later(reference_id=with_id, type="rating", value="good")
        found = await asyncio.to_thread(find, text)
        return "".join(found)

    async def run() -> None:
        async with client.session("visit"):
            assert await answer("x") == "x"
        with pytest.raises(TypeError):
            await answer(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    asyncio.run(run())
    with place.server():
        assert client.flush() == Flushed(10, 0)
        records = place.records()
        assert client.tracer.failures == 0
    assert len(records) == 6
    top, failed = (each for each in records if each["config"]["name"] == "answer")
    children = [each for each in records if each.get("parent_id") == top["id"]]
    assert {each["output"] for each in children} == {"a call of a model", '["x"]'}
    assert {each["session_reference_id"] for each in children} == {"visit"}
    assert (top["inputs"], top["output"]) == ({"text": "x"}, "x")
    assert top["duration"] > 0
    assert failed["error"].startswith("TypeError: ")
    assert failed["session_reference_id"] == failed["reference_id"]
    assert sum(len(each["feedback"]) for each in records) == 2


def test_updates_follow_their_logs(place: Place) -> None:
    client = place.client()
    first = client.log_later(**LOG)
    client.spool.update(first, {"output": "later", "duration": 1.5})
    client.spool.update(first, {"error": "late"})
    with place.server():
        assert client.flush() == Flushed(3, 0)
        client.spool.update(first, {"output": "last"})
        assert client.flush() == Flushed(1, 0)
        [record] = place.records()
    assert (record["output"], record["error"], record["duration"]) == ("last", "late", 1.5)
    with pytest.raises(SchemaValidationError):
        client.spool.update(first, {"duration": "long"})


def test_an_update_of_an_unknown_log_is_set_aside_in_the_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "HOLD_SECONDS", 0)
    client = place.client()
    client.spool.update("nobody's", {"output": "x"})
    with place.server():
        assert client.flush().left == 0
        assert client.spool.stats().set_aside == 1
        with pytest.raises(NotFoundError):
            client.logs.update_by_ref(reference_id="nobody's", output="x")


@pytest.mark.parametrize("places", [{"session_id": "sesh_1"}, {"parent_reference_id": "r"}])
def test_a_place_that_is_given_counts(place: Place, places: dict[str, Any]) -> None:
    client = place.client()
    with client.session("s"):
        client.log_later(**LOG, **places)
    [written] = place.files(".spool")
    assert b'"s"' not in written.read_bytes()


TRACED = """
@client.traced(project="p")
def inner(x):
    return x

@client.traced(project="p")
def outer():
    inner("in")
    %s
    return "out"

outer()
client.flush()
"""


def test_a_program_that_dies_amid_a_call_leaves_what_was_done(place: Place) -> None:
    program(place, TRACED % "os.kill(os.getpid(), 9)")
    with place.server():
        assert place.client().flush().left == 0
        first, second = place.records()
    assert (first["config"]["name"], first.get("output")) == ("outer", None)
    assert (second["parent_id"], second["output"]) == (first["id"], "in")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_fork_amid_a_call(place: Place) -> None:
    fork = "child = os.fork(); child or (inner('child'), os._exit(0)); os.waitpid(child, 0)"
    with place.server():
        program(place, TRACED.replace('inner("in")', "") % fork)
        place.client().flush()
        first, second = place.records()
    assert (first["config"]["name"], first["output"]) == ("outer", "out")
    assert (second["parent_id"], second["output"]) == (first["id"], "child")


def test_logs_of_two_accounts_have_no_parents_in_each_other(place: Place) -> None:
    ours, theirs = place.client(), place.client(api_key="hl_another-key-of-the-tests")
    twin = place.client()

    @ours.traced(project="p")
    def outer() -> None:
        theirs.log_later(**LOG, output="there")
        twin.log_later(**LOG, output="here")

    outer()
    written = [each.read_bytes() for each in place.files(".spool")]
    placed = [each for each in written if b"parent_reference_id" in each]
    assert len(written) == 3
    assert [b'"here"' in each for each in placed] == [True]


def test_what_no_server_stores_is_replaced(place: Place) -> None:
    client = place.client()
    client.traced(project="p")(lambda text: text)("a\0\ud800")
    with place.server():
        assert client.flush() == Flushed(1, 0)
        assert client.spool.stats().set_aside == 0
        [record] = place.records()
    assert record["output"] == record["inputs"]["text"] == "a\ufffd\ufffd"
