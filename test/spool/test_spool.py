"""Logging later: the records that are sent, and the warnings and statistics."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import errno
import itertools
import json
import logging
import os
import pickle
import shutil
import stat
import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from humanloop import (
    ApiTypeError,
    ApiValueError,
    BadRequestError,
    ClientConfigurationError,
    Flushed,
    Humanloop,
    RetryPolicy,
    SchemaValidationError,
    SpoolError,
    SpoolFullError,
    SpoolOptions,
)
from humanloop.http import Headers, Request
from humanloop.spool import segments
from humanloop.spool.batches import BY_REFERENCE, Item
from humanloop.spool.batches import LOG as LOG_ACTION
from humanloop.spool.delivery import _next_try
from humanloop.spool.descriptors import OpenFile
from humanloop.spool.directory import Directory, Segment, Tally
from humanloop.spool.writer import Writer
from humanloop.testing import TestTransport

from .conftest import KEY, LOG, Place
from .programs import wait_until


class TestLogging:
    """The arguments and the result of `log_later`."""

    def test_a_log_is_sent_once_with_its_reference_and_time(self, place: Place) -> None:
        client = place.client()
        before = datetime.now(timezone.utc)
        reference_id = client.log_later(**LOG, inputs={"a": "\u00e4"}, output="Hi", duration=0.25)
        assert uuid.UUID(reference_id).version == 4
        with place.server():
            assert client.flush() == Flushed(1, 0)
            [record] = place.records()
        assert record["reference_id"] == reference_id
        assert (record["inputs"], record["output"]) == ({"a": "\u00e4"}, "Hi")
        assert before <= datetime.fromisoformat(record["created_at"].replace("Z", "+00:00"))

    def test_what_is_given_stays(self, place: Place) -> None:
        client = place.client()
        moment = "2026-01-02T03:04:05Z"
        assert client.log_later(**LOG, reference_id="mine", created_at=moment) == "mine"
        body = {**LOG, "reference_id": "other"}
        assert client.log_later({**body, "provider_api_keys": {"openai": "sk-secret"}}) == "other"
        assert "reference_id" in body
        data = b"".join(path.read_bytes() for path in place.files())
        assert b"sk-secret" not in data
        assert KEY.encode() not in data
        with place.server():
            assert client.flush().left == 0
            records = place.records()
        assert {each["reference_id"] for each in records} == {"mine", "other"}
        assert moment in {each["created_at"] for each in records}

    @pytest.mark.parametrize(
        ("keys", "error"),
        [
            ({"output": 7}, SchemaValidationError),
            ({"config": {"model": 7}}, SchemaValidationError),
            ({"body": {"output": 7}}, SchemaValidationError),
            ({"body": [LOG, LOG]}, ApiTypeError),
            ({"body": LOG, "output": "Hi"}, ApiTypeError),
            ({"outptu": "Hi"}, ApiTypeError),
            ({"timeout": 5}, ApiTypeError),
        ],
    )
    def test_what_is_wrong_raises_in_the_caller(
        self, place: Place, keys: dict[str, Any], error: type[Exception]
    ) -> None:
        client = place.client()
        with pytest.raises(error):
            client.log_later(**keys)
        with pytest.raises(error):
            asyncio.run(client.alog_later(**keys))
        assert not place.spool.exists()

    def test_messages_name_what_was_called(self, place: Place) -> None:
        client = place.client()
        with pytest.raises(ApiTypeError, match=r"^log_later\(\) got .* 'outptu'; did you mean"):
            client.log_later(outptu="Hi")  # type: ignore[call-arg]
        with pytest.raises(ApiTypeError, match=r"^feedback_later\(\) got an unexpected argument"):
            client.feedback_later(type="rating", valu=1, reference_id="r")  # type: ignore[call-arg]
        for timeout in (-1, True, "2", float("nan")):
            with pytest.raises(ApiValueError, match="timeout must be a number of seconds"):
                client.flush(timeout)  # type: ignore[arg-type]

    def test_what_no_file_can_hold_is_refused(self, place: Place) -> None:
        """Such a record could be written, but not read."""
        client = place.client()
        longest = segments.MAX_RECORD - 500
        client.log_later(**LOG, output="x" * longest)
        with pytest.raises(SpoolError, match="is longer than the 67,108,864 that"):
            client.log_later(**LOG, output="x" * (longest + 500))
        [path] = place.files()
        assert longest < path.stat().st_size < longest + 600

    def test_nothing_is_there_before_the_first(self, place: Place) -> None:
        threads = set(threading.enumerate())
        client = place.client()
        assert client.flush() == Flushed(0, 0)
        assert client.spool.stats().left == 0
        client.close()
        assert not place.spool.exists()
        assert set(threading.enumerate()) <= threads

    def test_in_an_event_loop(self, place: Place) -> None:
        client = place.client()

        async def main() -> Flushed:
            references = [await client.alog_later(**LOG) for _ in range(3)]
            await client.afeedback_later(type="rating", value="good", reference_id=references[0])
            with place.server():
                flushed = await client.aflush()
                assert len(place.records()) == 3
            await client.aclose()
            return flushed

        assert asyncio.run(main()) == Flushed(4, 0)


class TestFeedback:
    """Feedback on logs that may still be pending."""

    def test_it_finds_a_log_of_the_spool(self, place: Place) -> None:
        client = place.client()
        reference_id = client.log_later(**LOG)
        client.feedback_later(type="rating", value="good", reference_id=reference_id, user="ada")
        client.feedback_later({"type": "comment", "value": "c"}, reference_id=reference_id)
        with place.server():
            assert client.flush() == Flushed(3, 0)
            [record] = place.records()
            client.feedback_later(type="comment", value="d", data_id=record["id"])
            assert client.flush() == Flushed(1, 0)
            [record] = place.records()
        assert [each["value"] for each in record["feedback"]] == ["good", "c", "d"]

    @pytest.mark.parametrize("keys", [{}, {"data_id": "data_1", "reference_id": "r"}])
    def test_it_needs_one_name(self, place: Place, keys: dict[str, str]) -> None:
        with pytest.raises(ApiTypeError, match="reference_id="):
            place.client().feedback_later(type="rating", value="good", **keys)  # type: ignore[arg-type]

    def test_it_waits_for_a_log_of_another_process(self, place: Place) -> None:
        client = place.client()
        client.feedback_later(type="rating", value="good", reference_id="later")
        with place.server():
            client.spool.flush(0)
            wait_until(lambda: client.spool.stats().held == 1)
            assert client.spool.stats().left == 1
            with Humanloop(KEY, place.host) as other:
                other.log(**LOG, reference_id="later")
            assert client.flush().left == 0
            [record] = place.records()
        assert record["feedback"][0]["value"] == "good"


class TestSending:
    """The sending of records."""

    def test_parents_go_before_their_children(self, place: Place) -> None:
        client = place.client()
        for number in range(5):
            # The child is written first, like in a program that logs each part when it ends.
            client.log_later(**LOG, reference_id=f"c{number}", parent_reference_id=f"b{number}")
            client.log_later(**LOG, reference_id=f"a{number}")
            client.log_later(**LOG, reference_id=f"b{number}", parent_reference_id=f"a{number}")
        with place.server():
            assert client.flush() == Flushed(15, 0)
            parents = {each["reference_id"]: each for each in place.records()}
        assert parents["c3"]["parent_id"] == parents["b3"]["id"]
        assert parents["b3"]["parent_id"] == parents["a3"]["id"]

    def test_one_that_is_refused_is_set_aside(
        self, place: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = place.client()
        for number in range(20):
            client.log_later(**LOG, output=str(number))
        client.log_later(project_id="pr_none", config={"model": "m"}, output="bad")
        client.log_later(config={"model": "m"}, output="bad")
        with place.server(), caplog.at_level(logging.WARNING):
            assert client.flush() == Flushed(20, 0)
            assert len(place.records()) == 20
        assert client.spool.stats().set_aside == 2
        [bad] = place.files(".bad")
        lines = [json.loads(line) for line in bad.read_text().splitlines()]
        assert [json.loads(line["body"])["output"] for line in lines] == ["bad", "bad"]
        assert lines[0]["error"] == "project_id: there is no project 'pr_none'"
        assert sum("refused" in each.message for each in caplog.records) == 2
        assert stat.S_IMODE(bad.stat().st_mode) == 0o600

    def test_a_place_that_names_none_of_them(self, place: Place) -> None:
        """`true` is not an index, though bool is an int in Python."""
        transport = TestTransport()
        detail = [{"loc": ["body", True, "output"], "msg": "no", "type": "value_error"}]
        transport.reply("logs.log", status=422, body={"detail": detail}, times=1)
        client = place.client(transport=transport)
        for _ in range(4):
            client.log_later(**LOG)
        assert client.flush() == Flushed(4, 0)
        assert place.files(".bad") == []

    def test_what_is_too_large_together_is_parted(self, place: Place) -> None:
        client = place.client()
        for _ in range(40):
            client.log_later(**LOG, output="x" * 1000)
        client.log_later(**LOG, output="x" * 30_000)
        with place.server(max_body_bytes=20_000):
            assert client.flush() == Flushed(40, 0)
            assert len(place.records()) == 40
        assert client.spool.stats().set_aside == 1

    def test_a_server_that_knows_no_references_gets_ids(self, place: Place) -> None:
        def strip(request: Request) -> Request:
            headers = Headers(request.headers)
            headers.pop("X-Data-Reference", None)
            return replace(request, headers=headers)

        client = place.client(event_hooks={"request": [strip]})
        with place.server():
            reference_id = client.log_later(**LOG)
            client.feedback_later(type="rating", value="good", reference_id=reference_id)
            assert client.flush() == Flushed(2, 0)
            [record] = place.records()
        assert record["feedback"][0]["value"] == "good"

    def test_every_request_says_that_it_may_be_a_repeated_one(self, place: Place) -> None:
        seen: list[str] = []
        hooks = {"request": [lambda request: seen.append(request.headers["X-Retry-Count"])]}
        client = place.client(event_hooks=hooks)
        client.log_later(**LOG)
        with place.server():
            client.flush()
        assert seen
        assert set(seen) == {"1"}

    @pytest.mark.parametrize("body", [{"status": "please log in"}, [None], ["ok"], [{}], []])
    def test_an_answer_that_is_not_the_api_s_delivers_nothing(
        self, place: Place, body: Any
    ) -> None:
        """It may come from a proxy that asks for a login."""
        transport = TestTransport()
        transport.reply("logs.log", body=body, check=False)
        client = place.client(transport=transport)
        client.log_later(**LOG)
        assert client.flush() == Flushed(0, 1)
        assert client.spool.stats().state == "paused"

    def test_an_update_finds_its_log_by_any_name(self, place: Place) -> None:
        client = place.client()
        name = 'a "b" \u00e4&c=1}'
        client.log_later(**LOG, reference_id=name)
        client.spool.update(name, {"output": "Hi"})
        client.spool.update(name, {})
        with place.server():
            assert client.flush() == Flushed(3, 0)
            [record] = place.records()
        assert (record["reference_id"], record["output"]) == (name, "Hi")

    def test_a_taken_reference_counts_as_delivered(self, place: Place) -> None:
        client = place.client()
        with place.server():
            with Humanloop(KEY, place.host) as other:
                other.log(**LOG, reference_id="r", output="first")
            client.log_later(**LOG, reference_id="r", output="second")
            client.log_later(**LOG, reference_id="s")
            assert client.flush() == Flushed(2, 0)
            assert client.spool.stats().duplicates == 1
            assert [each.get("output") for each in place.records()] == ["first", None]

    def test_a_wrong_key_pauses_and_loses_nothing(
        self, place: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = place.client(api_key="hl_wrong")
        client.log_later(**LOG)
        with place.server(), caplog.at_level(logging.WARNING):
            assert client.flush() == Flushed(0, 1)
            assert client.spool.stats().state == "paused"
            client.log_later(**LOG)
            assert client.flush() == Flushed(0, 2)
        [told] = [each.message for each in caplog.records if "401" in each.message]
        assert "is not valid here; the next try is in 60 seconds" in told
        assert "hl_wrong" not in caplog.text

    @pytest.mark.parametrize("status", [401, 403, 404, 405])
    def test_what_is_refused_as_a_whole_pauses(self, place: Place, status: int) -> None:
        transport = TestTransport()
        transport.reply("logs.log", status=status, times=1)
        client = place.client(transport=transport)
        client.log_later(**LOG)
        assert client.flush() == Flushed(0, 1)
        assert (client.spool.stats().state, place.files(".bad")) == ("paused", [])
        assert client.flush() == Flushed(1, 0)

    def test_what_a_proxy_refuses_is_not_set_aside(self, place: Place) -> None:
        """A 400 that names no item may be about every request, for example its Host."""
        transport = TestTransport()
        transport.reply("logs.log", status=400, body="<html>", times=3)
        client = place.client(transport=transport)
        for _ in range(3):
            client.log_later(**LOG)
        assert client.flush(30) == Flushed(3, 0)
        assert place.files() == []

    def test_one_that_is_a_bad_request_keeps_none_of_the_others(self, place: Place) -> None:
        def refuse(request: Request) -> Request:
            if b'"bad"' in (request.body or b""):  # a reference ID may have these letters, too
                raise BadRequestError(status=400, reason="Bad Request")
            return request

        client = place.client(event_hooks={"request": [refuse]})
        for output in ("bad", "a", "b", "c"):
            client.log_later(**LOG, output=output)
        with place.server():
            client.spool.flush(0)
            wait_until(lambda: client.spool.stats().sent == 3)
            assert client.spool.stats().left == client.spool.stats().held == 1

    def test_it_goes_by_itself_in_arrays_of_some_size(self, place: Place) -> None:
        """A batch has up to 100 logs or 1 MiB; a smaller one waits a second for more records."""
        sent: list[tuple[float, int, int]] = []

        def see(request: Request) -> None:
            assert isinstance(request.body, bytes)
            sent.append((time.monotonic(), len(json.loads(request.body)), len(request.body)))

        client = place.client(event_hooks={"request": [see]})
        with place.server():
            began = time.monotonic()
            client.log_later(**LOG)
            wait_until(lambda: client.spool.stats().sent == 1)
            assert sent[0][0] - began > 0.9
            for _ in range(250):
                client.log_later(**LOG)
            for _ in range(30):
                client.log_later(**LOG, output="x" * 100_000)
            wait_until(lambda: client.spool.stats().sent == 281)
            assert len(place.records()) == 281
        assert 100 in {count for _, count, _ in sent}
        assert max(count for _, count, _ in sent) == 100
        assert max(size for _, _, size in sent) < 1_200_000

    def test_a_flush_ends_while_others_log(self, place: Place) -> None:
        """It waits for what was logged before, and for nothing else."""
        is_over = threading.Event()

        def wait(_: Request) -> None:  # so that there is more to be sent at any time
            is_over.wait(0.05)

        client = place.client(transport=TestTransport(), event_hooks={"request": [wait]})

        def run() -> None:
            while not is_over.wait(0.002):
                client.log_later(**LOG)

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                reference_id = client.log_later(**LOG)
                began = time.monotonic()
                client.flush(60)
                assert time.monotonic() - began < 30
                assert reference_id.encode() not in self.pending(place)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()

    def pending(self, place: Place) -> bytes:
        """Return the bytes after the cursors of all segments."""
        found: list[bytes] = []
        for path in place.files(".spool"):
            with contextlib.suppress(FileNotFoundError):
                data = path.read_bytes()
                found.append(data[segments.read_head(data, len(data)) :])
        return b"".join(found)

    @pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}, {"Retry-After": "0"}])
    def test_it_waits_as_the_policy_or_the_server_says(
        self, place: Place, headers: dict[str, str]
    ) -> None:
        moments: list[float] = []
        hooks = {"request": [lambda _: moments.append(time.monotonic())]}
        transport = TestTransport()
        transport.reply("logs.log", status=503, times=3, headers=headers)
        policy = RetryPolicy(backoff=0.2, backoff_cap=0.4, random=lambda: 1.0)
        client = place.client(transport=transport, retries=policy, event_hooks=hooks)
        client.log_later(**LOG)
        assert client.flush(30) == Flushed(1, 0)
        waits = [b - a for a, b in itertools.pairwise(moments)]
        wanted = [1.0, 1.0, 1.0] if headers.get("Retry-After") == "1" else [0.2, 0.4, 0.4]
        assert [wait >= want for wait, want in zip(waits, wanted, strict=True)] == [True] * 3

    def test_it_is_sent_when_the_server_comes_back(self, place: Place) -> None:
        client = place.client(retries=0)
        for _ in range(250):
            client.log_later(**LOG)
        assert client.flush(0.3) == Flushed(0, 250)
        with place.server():
            assert client.flush() == Flushed(250, 0)
            for _ in range(150):
                client.log_later(**LOG)
        client.log_later(**LOG)
        with place.server():
            client.flush()
            records = place.records()
        assert len({each["reference_id"] for each in records}) == len(records) == 401

    def test_many_threads_at_once(self, place: Place) -> None:
        client = place.client()
        references: list[str] = []

        def run() -> None:
            for _ in range(50):
                references.append(client.log_later(**LOG))

        with place.server():
            threads = [threading.Thread(target=run) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert client.flush() == Flushed(400, 0)
            assert {each["reference_id"] for each in place.records()} == set(references)
        assert place.files() == []

    def test_closing_sends_and_leaves_the_rest(self, place: Place) -> None:
        with place.client(retries=0) as client:
            client.log_later(**LOG)
        assert len(place.files()) == 1
        with place.server():
            with place.client() as client:
                client.log_later(**LOG)
            assert len(place.records()) == 2
        assert place.files() == []

    def test_a_copy_shares_the_spool(self, place: Place) -> None:
        client = place.client()
        client.with_options(timeout=5).log_later(**LOG)
        with place.server():
            assert client.flush() == Flushed(1, 0)

    def test_a_copy_with_settings_of_its_own_has_a_spool_of_its_own(self, place: Place) -> None:
        client = place.client()
        client.log_later(**LOG)
        for other in (copy.copy(client), copy.deepcopy(client), pickle.loads(pickle.dumps(client))):
            place.clients.append(other)
            other.configuration.spool = place.spool / "other"
            other.log_later(**LOG)
        assert len([*place.spool.glob("other/*/*.spool")]) == 3
        assert client.spool.stats().written == 1

    def test_what_is_traced_goes_to_other_processes(self, place: Place) -> None:
        """Dask, Ray and joblib send a function by value, with its client."""
        cloudpickle = pytest.importorskip("cloudpickle")
        client = place.client()
        traced = client.traced(project="p")(lambda number: number + 1)
        traced(1)
        other = cloudpickle.loads(cloudpickle.dumps(traced))
        assert (other(2), client.spool.stats().written) == (3, 1)
        with place.server():
            assert client.flush() == Flushed(1, 0)


class TestPlaces:
    """The directory of a spool, and its settings."""

    def test_directories_and_files_are_the_user_s_own(self, place: Place) -> None:
        place.client().log_later(**LOG)
        assert stat.S_IMODE(place.spool.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.directory.stat().st_mode) == 0o700
        [path] = place.files()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("mask", [0, 0o177])
    def test_what_is_made_around_it_is_so_too(self, place: Place, mask: int) -> None:
        place.spool = place.spool / "within"
        before = os.umask(mask)
        try:
            place.client().log_later(**LOG)
        finally:
            os.umask(before)
        for made in (place.spool.parent, place.spool, place.directory):
            assert stat.S_IMODE(made.stat().st_mode) == 0o700

    def test_a_relative_path_is_where_the_client_was_made(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Daemons change their directory before the first log, or before a fork."""
        monkeypatch.chdir(tmp_path)
        client = place.client(spool="relative")
        monkeypatch.setenv("HUMANLOOP_SPOOL", "by-environment")
        other = place.client(spool="auto")
        monkeypatch.chdir("/")
        for each in (client, other):
            each.log_later(**LOG)
        assert len([*tmp_path.glob("relative/*/*.spool")]) == 1
        assert len([*tmp_path.glob("by-environment/*/*.spool")]) == 1
        assert str(client.spool.stats().directory).startswith(str(tmp_path))

    def test_a_path_that_leads_nowhere(self, place: Place) -> None:
        with pytest.raises(ClientConfigurationError, match=r"spool: the path '~nobody\.at\.all/s'"):
            place.client(spool="~nobody.at.all/s").log_later(**LOG)

    def test_two_keys_never_mix(self, place: Place) -> None:
        for key in ("one", "two"):
            place.client(api_key=key).log_later(**LOG)
        names = [path.name for path in place.spool.iterdir()]
        assert len(names) == 2
        assert not any("one" in name or "two" in name for name in names)

    def test_the_environment_and_the_user_s_directory(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
        place.client(spool="auto").log_later(**LOG)
        assert len([*tmp_path.glob("home/humanloop/spool/*/*.spool")]) == 1
        monkeypatch.setenv("HUMANLOOP_SPOOL", str(tmp_path / "given"))
        place.client(spool="auto").log_later(**LOG)
        assert len([*tmp_path.glob("given/*/*.spool")]) == 1
        monkeypatch.setenv("HUMANLOOP_SPOOL", "off")
        with pytest.raises(ClientConfigurationError, match="HUMANLOOP_SPOOL is off"):
            place.client(spool="auto").log_later(**LOG)

    def test_without_one(self, place: Place) -> None:
        client = place.client(spool=None)
        with pytest.raises(ClientConfigurationError, match="spool is None"):
            client.log_later(**LOG)
        assert client.flush() == Flushed(0, 0)
        assert client.spool.stats().directory is None

    @pytest.mark.parametrize(
        "spool",
        [7, "", "a\0b", True, SpoolOptions(max_bytes=0), SpoolOptions(when_full="wait")],  # type: ignore[arg-type]
    )
    def test_settings_that_are_none_are_refused(self, spool: Any) -> None:
        with pytest.raises(ClientConfigurationError, match="spool"):
            Humanloop("key", spool=spool)

    def test_a_place_that_can_t_be_written(self, place: Place) -> None:
        place.spool.write_text("no directory")
        with pytest.raises(
            SpoolError, match=r"no spool can be kept.*: .*pass spool=PATH, or set HUM"
        ):
            place.client().log_later(**LOG)

    @pytest.mark.parametrize("change", ["delete", "move", "truncate", "replace"])
    def test_one_that_is_changed_is_made_anew(
        self, place: Place, change: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = place.client(retries=0)
        client.log_later(**LOG, output="before")
        client.spool.flush(0)
        wait_until(lambda: client.spool.stats().state == "waiting")  # it is read
        if change == "delete":
            shutil.rmtree(place.spool)
        elif change == "move":
            place.spool.rename(place.spool.parent / "moved")
        elif change == "truncate":
            os.truncate(place.files()[0], 0)
        else:
            place.spool.rename(place.spool.parent / "moved")
            place.spool.write_text("no directory")
            client.spool.flush(0)
            wait_until(lambda: "deleted, moved or shortened" in caplog.text)
            with pytest.raises(SpoolError, match="no spool can be kept in"):
                client.log_later(**LOG)
            assert client.spool.stats().left == 1
            place.spool.unlink()
        client.spool.flush(0)
        wait_until(lambda: "somebody has deleted, moved or shortened" in caplog.text)
        client.log_later(**LOG, output="after")
        assert [b"after" in path.read_bytes() for path in place.files()][-1:] == [True]
        with place.server():
            assert client.flush() == Flushed(2, 0)
            assert {each["output"] for each in place.records()} == {"before", "after"}

    def test_records_after_a_shortened_file_are_sent(self, place: Place) -> None:
        """Also those that were written before the sender has seen it."""
        client = place.client(retries=0)
        for _ in range(5):
            client.log_later(**LOG, output="x" * 1000)
        client.spool.flush(0)
        wait_until(lambda: client.spool.stats().state == "waiting")
        os.truncate(place.files()[0], 0)
        client.log_later(**LOG, output="after")
        with place.server():
            assert client.flush().left == 0
            assert "after" in {each["output"] for each in place.records()}

    def test_a_directory_that_can_t_be_read(self, place: Place) -> None:
        """All say so in the same way."""
        place.spool.mkdir()
        client = place.client(spool=place.spool / ("x" * 300))
        calls: list[Callable[[], Any]] = [
            client.spool.stats,
            client.flush,
            lambda: asyncio.run(client.aflush()),
            lambda: client.log_later(**LOG),
        ]
        for call in calls:
            with pytest.raises(SpoolError, match="too long"):
                call()

    def test_what_a_test_sends_is_apart(self, place: Place) -> None:
        """Otherwise a TestTransport would get the pending records of a program."""
        place.client().log_later(**LOG)
        client = Humanloop(KEY, place.host, spool=place.spool, transport=TestTransport())
        client.log_later(**LOG)
        client.close()
        assert len(place.files(".spool")) == 1


class TestBounds:
    """The limit of a spool's size, and a full disk."""

    def fill(self, client: Humanloop) -> int:
        """Log until the spool is full."""
        for number in range(1000):
            try:
                client.log_later(**LOG, output="x" * 1000)
            except SpoolFullError:
                return number
        raise AssertionError("it was never full")

    def size(self, place: Place) -> int:
        return sum(path.stat().st_size for path in place.files())

    def test_raise(self, place: Place) -> None:
        client = place.client(spool=SpoolOptions(place.spool, max_bytes=50_000))
        count = self.fill(client)
        assert 45_000 < self.size(place) <= 50_000
        assert client.spool.stats().refused == 1
        with place.server():
            assert client.flush() == Flushed(count, 0)
            client.log_later(**LOG)
            assert client.flush() == Flushed(1, 0)

    def test_drop_newest(self, place: Place) -> None:
        options = SpoolOptions(place.spool, max_bytes=20_000, when_full="drop_newest")
        client = place.client(spool=options)
        for _ in range(100):
            assert client.log_later(**LOG, output="x" * 1000)
        stats = client.spool.stats()
        assert stats.dropped == 100 - stats.written > 50
        assert self.size(place) <= 20_000

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_block(self, place: Place, kind: str) -> None:
        options = SpoolOptions(place.spool, max_bytes=20_000, when_full="block")
        client = place.client(spool=options)
        done = threading.Event()

        def run() -> None:
            for _ in range(60):
                if kind == "sync":
                    client.log_later(**LOG, output="x" * 1000)
                else:
                    asyncio.run(client.alog_later(**LOG, output="x" * 1000))
            done.set()

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: client.spool.stats().blocked == 1)
        assert not done.wait(0.1)
        with place.server():
            while not done.wait(0.05):
                client.flush()
            thread.join()
            assert client.flush().left == 0
            assert len(place.records()) == 60

    @pytest.mark.parametrize("durability", ["process", "interval", "fsync"])
    def test_a_full_disk_raises_and_damages_nothing(self, place: Place, durability: Any) -> None:
        resource = pytest.importorskip("resource")
        client = place.client(spool=SpoolOptions(place.spool, durability=durability))
        client.log_later(**LOG)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            count = self.fill(client)
            [path] = place.files()
            size = path.stat().st_size
            with pytest.raises(SpoolFullError, match="no room") as caught:
                client.log_later(**LOG, output="x" * 1000)
            assert isinstance(caught.value.__cause__, OSError)
            assert path.stat().st_size == size
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        client.log_later(**LOG)
        with place.server():
            assert client.flush() == Flushed(count + 2, 0)
            assert len(place.records()) == count + 2
        assert place.files() == []

    @pytest.mark.parametrize(
        ("durability", "count"), [("process", [0]), ("interval", range(1, 20)), ("fsync", [20])]
    )
    def test_what_is_brought_to_the_disk(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, durability: Any, count: Sequence[int]
    ) -> None:
        synced: list[int] = []
        monkeypatch.setattr("humanloop.spool.writer._sync", synced.append)
        client = place.client(spool=SpoolOptions(place.spool, durability=durability))
        for _ in range(20):
            client.log_later(**LOG)
        if durability == "interval":
            wait_until(lambda: bool(synced))
        assert len(synced) in count

    def test_a_large_spool_has_few_files(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each takes a descriptor for as long as its records are pending."""
        monkeypatch.setattr("humanloop.spool.writer.SEGMENT_BYTES", 8192)
        client = place.client(spool=SpoolOptions(place.spool, max_bytes=1_000_000))
        with contextlib.suppress(SpoolFullError):
            while True:
                client.log_later(**LOG, output="x" * 2000)
        assert 25 < len(place.files()) < 35

    def test_a_file_that_can_t_be_deleted(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It keeps nothing from being sent."""

        def fail(path: Path) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        client = place.client()
        client.log_later(**LOG)
        monkeypatch.setattr(Path, "unlink", fail)
        with place.server():
            assert client.flush() == Flushed(1, 0)
            client.log_later(**LOG)
            assert client.flush() == Flushed(1, 0)
            assert "can't be updated: Permission denied" in caplog.text
            monkeypatch.undo()
            client.log_later(**LOG)
            assert client.flush() == Flushed(1, 0)
            assert len(place.records()) == 3
        assert place.files() == []

    def test_what_can_t_be_brought_to_the_disk(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It raises, and the record is in the file: it is sent nevertheless."""

        def fail(_: int) -> None:
            monkeypatch.undo()
            raise OSError(errno.EIO, "Input/output error")

        client = place.client(spool=SpoolOptions(place.spool, durability="fsync"))
        client.log_later(**LOG, output="before")
        monkeypatch.setattr("humanloop.spool.writer._sync", fail)
        with pytest.raises(SpoolError, match="will be sent, but can't be brought to the disk: In"):
            client.log_later(**LOG, output="failed")
        client.log_later(**LOG, output="after")
        with place.server():
            assert client.flush() == Flushed(3, 0)
            outputs = [each["output"] for each in place.records()]
        assert outputs == ["before", "failed", "after"]

    def test_what_is_refused_waits_for_room_to_be_set_aside(
        self, place: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        resource = pytest.importorskip("resource")
        client = place.client(retries=RetryPolicy(backoff=0.01))
        client.log_later(config={"model": "m"})
        client.log_later(**LOG)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with place.server():
            client.spool.flush(0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
            try:
                wait_until(lambda: client.spool.stats().held == 1)
                assert client.spool.stats().set_aside == 0
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert client.flush() == Flushed(1, 0)
            assert client.spool.stats().set_aside == 1
        assert "Traceback" not in caplog.text

    def test_a_disk_that_is_full_for_many_threads(self, place: Place) -> None:
        resource = pytest.importorskip("resource")
        client = place.client()
        references: list[str] = []

        def run() -> None:
            for number in range(100):
                with contextlib.suppress(SpoolFullError):
                    references.append(client.log_later(**LOG, output="x" * (number * 37)))

        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            threads = [threading.Thread(target=run) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert 0 < len(references) < 800
        with place.server():
            assert client.flush() == Flushed(len(references), 0)
            assert {each["reference_id"] for each in place.records()} == set(references)
        assert place.files() == []


def test_memory_stays_flat_while_the_server_is_away(place: Place) -> None:
    client = place.client(retries=RetryPolicy(backoff=0.01, backoff_cap=0.01))
    client.log_later(**LOG)
    tracemalloc.start()
    try:
        for _ in range(3000):
            client.log_later(**LOG, output="x" * 2000)
        client.flush(0.3)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert client.spool.stats().left == 3001
    assert held < 1_500_000 < sum(path.stat().st_size for path in place.files())


def test_feedback_that_waits_for_a_later_file(place: Place) -> None:
    """However much there is, the logs in other files are read."""
    directory = Directory(Path(str(place.client().spool.stats().directory)))
    for action in (BY_REFERENCE, LOG_ACTION):
        writer = Writer(directory, SpoolOptions())
        for number in range(1200):
            body: dict[str, Any] = {**LOG, "reference_id": str(number)}
            if action == BY_REFERENCE:
                body = {"type": "rating", "value": "good", "data_id": str(number)}
            writer.append(action.encode(), json.dumps(body).encode())
        writer.close()
    with place.server():
        assert place.client().flush(60) == Flushed(2400, 0)
        assert all(len(each["feedback"]) == 1 for each in place.records())
    assert place.files() == []


def test_a_record_that_was_tried_for_days() -> None:
    item = Item(Segment(Path("none"), OpenFile(-1), 0, Tally()), 0, LOG_ACTION, b"{}", "", "")
    item.tries = 100_000
    assert _next_try(item) == 60


def test_stats_say_what_happened(place: Place) -> None:
    client = place.client(retries=0)
    client.log_later(**LOG)
    client.spool.flush(0)
    wait_until(lambda: client.spool.stats().last_error is not None)
    stats = client.spool.stats()
    assert stats.directory == str(place.directory)
    assert (stats.state, stats.written, stats.left) == ("waiting", 1, 1)
    assert stats.last_error is not None
    assert stats.last_error.endswith("refused")
    assert stats.bytes == place.files()[0].stat().st_size
    assert os.path.isdir(stats.directory)


def test_a_thread_that_has_died_is_started_anew(place: Place) -> None:
    class Die(BaseException):
        pass

    def die(request: Request) -> Request:
        if dying:
            dying.clear()
            raise Die
        return request

    dying = [True]
    client = place.client(event_hooks={"request": [die]})
    with place.server(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", lambda _: ended.set())
        ended = threading.Event()
        client.log_later(**LOG)
        assert ended.wait(20)
        client.log_later(**LOG)
        assert client.flush().left == 0
        assert len(place.records()) == 2
