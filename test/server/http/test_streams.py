"""Streams of events: what each holds, when it is sent, and a reader that leaves."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from humanloop.model import ChatResponse, CompletionResponse
from humanloop.server import EmbeddedServer, Settings
from humanloop.server.generation.providers import (
    Ending,
)

from ..api import API_KEY, Api
from ..chatting import (
    HI,
    Endless,
    Experiment,
    Own,
    chat,
    complete,
    events,
    post,
    records,
)


class TestStreams:
    """Answers that are streams of events."""

    @pytest.mark.parametrize("path", ["/chat", "/completion"])
    def test_pieces_and_the_end_of_each_sample(self, api: Api, name: str, path: str) -> None:
        body = chat(name) if path == "/chat" else complete(name, "Hi ")
        body |= {"num_samples": 2, "user": "u", "inputs": {"x": 1}}
        schema = {"/chat": ChatResponse, "/completion": CompletionResponse}[path]
        whole = api.ok("POST", path, body)
        found = events(api.call("POST", path, {**body, "stream": True}))
        for each in found:
            schema(each)
            assert len(each["data"]) == 1
        logged = records(api, name)[2:]
        groups = [
            list(group) for _, group in itertools.groupby(found, lambda e: e["data"][0]["id"])
        ]
        assert len(groups) == len(logged) == 2
        for group, record, expected in zip(groups, logged, whole["data"], strict=True):
            pieces = [each["data"][0] for each in group]
            assert {each["id"] for each in pieces} == {record["id"]}
            assert len([each for each in pieces if each["output"]]) >= 4
            assert [each.get("finish_reason") for each in pieces] == [
                *[None] * (len(pieces) - 1),
                "stop",
            ]
            for key in ("output", "raw_output"):
                assert "".join(each[key] for each in pieces) == record["raw_output"]
            assert record["raw_output"] == expected["raw_output"]
            assert record["output"] == expected["output"]
            assert record["provider_response"] == group[-1]["provider_responses"][0]
            for key in ("inputs", "index", "messages"):
                assert pieces[-1].get(key) == expected.get(key)
        assert found[-1]["user"] == "u"
        assert found[-1]["num_samples"] == 2
        assert found[-1]["project_id"] == whole["project_id"]
        usages = [group[-1]["usage"]["total_tokens"] for group in groups]
        assert sum(usages) == whole["usage"]["total_tokens"]

    def test_it_is_not_to_be_cached(self, api: Api, name: str) -> None:
        answer = api.call("POST", "/chat", chat(name, stream=True))
        assert answer.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("path", ["chat", "completion"])
    @pytest.mark.parametrize("way", ["-deployed", "-experiment", "-model-config"])
    def test_every_operation_streams(self, api: Api, name: str, path: str, way: str) -> None:
        experiment = Experiment(api, name)
        body: dict[str, Any] = {"project": name, "stream": True}
        body |= HI if path == "chat" else {}
        body |= {"experiment_id": experiment.id} if way == "-experiment" else {}
        body |= {"model_config_id": experiment.configs[0]} if way == "-model-config" else {}
        found = events(api.call("POST", f"/{path}{way}", body))
        [record] = records(api, name)
        assert "".join(each["data"][0]["output"] for each in found) == record["output"]
        assert ("trial_id" in record) == (way != "-model-config")

    def test_clients_of_the_0_5_line_lose_no_event(self, api: Api, name: str) -> None:
        text = "data: a\n\ndata: b \u00dadata: c \\data: \u2028 \x85 \u2029 event: x"
        messages = [{"role": "user", "content": text}]
        body = chat(name, messages=messages, metadata={"data: ": ["data: "]}, stream=True)
        answer = api.call("POST", "/chat", body)
        found = events(answer)
        for block in answer.text.removesuffix("\n\n").split("\n\n"):
            assert block.count("data: ") == 1
        assert "\\u003a " in answer.text
        assert not set(answer.text) & set("\u2028\u2029\x85\r")
        assert found[-1]["data"][0]["messages"] == messages
        assert found[-1]["metadata"] == {"data: ": ["data: "]}
        assert "".join(each["data"][0]["output"] for each in found).endswith(text)

    def test_an_event_is_sent_when_it_is_there(self, own: Own) -> None:
        stream = own.open()
        assert own.provider.step("one") == "one"
        assert next(stream)["data"][0]["output"] == "one"
        # The writer is free while the provider takes its time.
        own.api.log("other")
        own.provider.step("two")
        assert next(stream)["data"][0]["output"] == "two"
        own.provider.step(Ending("stop"))
        assert next(stream)["data"][0]["finish_reason"] == "stop"
        [record] = records(own.api, "p")
        assert record["output"] == "onetwo"
        assert list(stream) == []

    def test_a_log_is_there_from_the_start(self, own: Own) -> None:
        stream = own.open(num_samples=2)
        own.provider.step("one")
        log_id = next(stream)["data"][0]["id"]
        first, second = records(own.api, "p")
        assert first["id"] == log_id
        assert not (first.keys() | second.keys()) & {"output", "error", "finish_reason"}
        feedback = {"data_id": log_id, "type": "rating", "value": "good"}
        own.api.ok("POST", "/feedback", feedback)
        own.provider.step(Ending("stop"))
        own.provider.step(Ending("stop"))
        assert [each["data"][0]["index"] for each in stream] == [0, 1]

    def test_a_reader_that_leaves_keeps_what_came(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'own.db'}"
        provider = Endless()
        settings = Settings(providers={"mock": provider})
        with EmbeddedServer(url, api_key=API_KEY, settings=settings) as server:
            answer = post(server, chat("p", stream=True, num_samples=2))
            head = next(answer.stream(64))
            assert head.startswith(b"data: ")
            answer.close()
            assert provider.closed.wait(60)
            assert provider.calls == 1
        with EmbeddedServer(url, api_key=API_KEY) as server:
            first, second = records(Api(server.url), "p")
        assert first["raw_output"] == " piece" * first["raw_output"].count(" piece") != ""
        assert first["output"] == first["raw_output"].strip()
        assert not first.keys() & {"error", "finish_reason"}
        assert second["error"] == "Not generated: the call ended before this sample."
        assert "output" not in second

    def test_a_reader_that_takes_nothing_ends_it(self, database_url: str) -> None:
        provider = Endless()
        settings = Settings(providers={"mock": provider}, body_seconds=0.3)
        with EmbeddedServer(database_url, api_key=API_KEY, settings=settings) as server:
            answer = post(server, chat("p", stream=True))
            assert provider.closed.wait(60)
            answer.close()
            [record] = records(Api(server.url), "p")
        assert record["raw_output"].startswith(" piece")
        assert not record.keys() & {"error", "finish_reason"}

    def test_a_reader_that_takes_its_time_gets_it_all(self, own: Own) -> None:
        stream = own.open()
        pieces = ["x" * 200_000] * 20  # more than the system keeps for a reader
        own.provider.steps_ready(*pieces, Ending("stop"))
        assert own.provider.started.acquire(timeout=60)
        assert [each["data"][0]["output"] for each in stream] == [*pieces, ""]
