"""Generations: providers that fail, their keys, and what is kept when."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from humanloop.server import EmbeddedServer, create_app
from humanloop.server.generation.providers import (
    Ending,
    ProviderError,
    redact_data,
)

from ..api import API_KEY, Answer, Api
from ..chatting import (
    Experiment,
    Own,
    chat,
    records,
)
from ..databases import query, transactions

SECRET = "sk-provider-secret-0123456789"


class TestFailures:
    """Providers that fail."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_at_the_start_it_is_an_error_and_a_log(self, api: Api, name: str, stream: bool) -> None:
        body = chat(name, other={"error": "out of \u00e4ther"}, stream=stream, num_samples=2)
        answer = api.call("POST", "/chat", body)
        assert answer.status == 503
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.body == {"detail": "The provider 'mock' failed: out of \u00e4ther"}
        first, second = records(api, name)
        assert first["error"] == "out of \u00e4ther"
        assert first["provider_latency"] >= 0
        assert second["error"] == "Not generated: the call ended before this sample."
        assert not (first.keys() | second.keys()) & {"output", "raw_output", "finish_reason"}

    def test_in_the_middle_the_part_is_kept(self, api: Api, name: str) -> None:
        body = chat(name, other={"error": "cut", "error_after": 2})
        answer = api.call("POST", "/chat", body)
        assert (answer.status, answer.body["detail"]) == (503, "The provider 'mock' failed: cut")
        [record] = records(api, name)
        assert (record["error"], record["raw_output"]) == ("cut", "Mock answer")
        assert "finish_reason" not in record

    def test_in_mid_stream_it_is_an_event(self, api: Api, name: str) -> None:
        other = {"error": "cut data: x", "error_after": 2}
        answer = api.call("POST", "/chat", chat(name, other=other, stream=True))
        assert answer.status == 200
        *pieces, last, rest = answer.text.split("\n\n")
        assert len(pieces) == 2
        assert rest == ""
        kind, data = last.split("\n")
        assert kind == "event: error"
        assert data.count("data: ") == 1
        assert json.loads(data.removeprefix("data: ")) == {
            "detail": "The provider 'mock' failed: cut data: x"
        }
        [record] = records(api, name)
        assert (record["error"], record["output"]) == ("cut data: x", "Mock answer")

    def test_a_later_sample_leaves_the_earlier_ones(self, own: Own) -> None:
        answers: list[Answer] = []
        body = chat("p", num_samples=3)
        thread = threading.Thread(
            target=lambda: answers.append(own.api.call("POST", "/chat", body))
        )
        thread.start()
        own.provider.step("fine")
        own.provider.step(Ending("stop"))
        own.provider.step(ProviderError("no more"))
        thread.join(60)
        assert answers[0].status == 503
        first, second, third = records(own.api, "p")
        assert (first["output"], first["finish_reason"]) == ("fine", "stop")
        assert second["error"] == "no more"
        assert "output" not in second
        assert third["error"].startswith("Not generated")

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_faulty_adapter_is_500_and_kept(
        self, own: Own, stream: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = "sk-not-to-be-shown\n"
        own.provider.steps_ready(ZeroDivisionError(f"Invalid header value {key!r}"))
        body = chat("p", stream=stream, provider_api_keys={"mock": key, "beside": 5})
        answer = own.api.call("POST", "/chat", body)
        assert answer.status == 500
        assert answer.body == {"detail": "internal error: see the server's log"}
        assert "ZeroDivisionError: Invalid header value '[redacted]'" in caplog.text
        assert key.strip() not in caplog.text
        [record] = records(own.api, "p")
        assert record["error"] == "internal error"

    @pytest.mark.parametrize(
        "step", [Ending("stop", response={"x": object()}), 5, None], ids=["ending", "piece", "none"]
    )
    def test_what_came_before_an_adapter_goes_wrong_is_kept(self, own: Own, step: Any) -> None:
        own.provider.steps_ready("some text", step)
        assert own.api.call("POST", "/chat", chat("p")).status == 500
        [record] = records(own.api, "p")
        assert (record["output"], record["error"]) == ("some text", "internal error")

    def test_halves_of_a_surrogate_pair_can_be_kept(self, own: Own) -> None:
        own.provider.steps_ready("a\ud83d", "\ude00b", "\ud83d\ude00", Ending("stop"))
        answer = own.api.ok("POST", "/chat", chat("p"))
        assert answer["data"][0]["output"] == "a\ufffd\ufffdb\U0001f600"

    def test_what_no_database_can_keep_is_replaced(self, own: Own) -> None:
        said = {"a\0": ["\0", "\ud83d"]}
        own.provider.steps_ready("a\0", "b", Ending("st\0p", response=said))
        answer = own.api.ok("POST", "/chat", chat("p"))
        assert answer["data"][0]["output"] == "a\ufffdb"
        own.provider.steps_ready("c", ProviderError("no\0 \udfff"))
        assert own.api.call("POST", "/chat", chat("p")).status == 503
        ended, failed = records(own.api, "p")
        assert (failed["output"], failed["error"]) == ("c", "no\ufffd \ufffd")
        assert (ended["output"], ended["finish_reason"]) == ("a\ufffdb", "st\ufffdp")
        assert ended["provider_response"] == {"a\ufffd": ["\ufffd", "\ufffd"]}

    def test_keys_that_begin_alike_are_redacted_and_words_are_not(self, own: Own) -> None:
        keys = {"mock": "sk-SECRET", "openai": "sk-SECRETSECRET", "cohere": "o"}
        own.provider.steps_ready(ProviderError("no key sk-SECRETSECRET for you"))
        answer = own.api.call("POST", "/chat", chat("p", provider_api_keys=keys))
        assert answer.status == 503
        assert "no key [redacted] for you" in answer.body["detail"]

    def test_usage_that_is_not_told_is_left_out(self, own: Own) -> None:
        own.provider.steps_ready(" x ", Ending("stop"))
        answer = own.api.ok("POST", "/chat", chat("p"))
        assert "usage" not in answer
        assert answer["provider_responses"] == [{}]

    def test_a_deleted_experiment_takes_nothing_along(self, own: Own) -> None:
        experiment = Experiment(own.api, "p")
        stream = own.open("/chat-experiment", experiment_id=experiment.id, model_config=None)
        own.provider.step("one")
        next(stream)
        assert own.api.call("DELETE", f"/experiments/{experiment.id}").status == 204
        own.provider.step(Ending("stop"))
        assert next(stream)["data"][0]["finish_reason"] == "stop"
        [record] = records(own.api, "p")
        assert record["output"] == "one"
        assert "trial_id" not in record


class TestKeys:
    """Provider keys go to the provider and nowhere else."""

    @pytest.mark.sqlite
    def test_they_are_kept_nowhere(
        self, tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        keys = {"mock": SECRET, "openai": SECRET + "o"}
        caplog.set_level(logging.DEBUG)
        answers: list[str] = []
        with EmbeddedServer(database_url, api_key=API_KEY) as server:
            api = Api(server.url)
            for extra in ({}, {"stream": True}, {"num_samples": 0}):
                body = chat("p", provider_api_keys=keys, **extra)
                answers.append(api.call("POST", "/chat", body).text)
            failing = chat("p", other={"error": "e"}, provider_api_keys=keys)
            answers.append(api.call("POST", "/chat", failing).text)
            files = [path.read_bytes() for path in tmp_path.iterdir()]
        files += [path.read_bytes() for path in tmp_path.iterdir()]
        assert any(b"Mock answer" in data for data in files)
        assert all(SECRET.encode() not in data for data in files)
        assert all(SECRET not in text for text in [*answers, caplog.text])

    def test_a_provider_gets_them_and_can_t_give_them_away(self, own: Own) -> None:
        own.provider.steps_ready(
            "x", Ending("stop", response={"key": [SECRET]}), ProviderError(f"bad key {SECRET}!")
        )
        body = chat("p", provider_api_keys={"mock": SECRET})
        answer = own.api.ok("POST", "/chat", body)
        assert answer["provider_responses"] == [{"key": ["[redacted]"]}]
        failed = own.api.call("POST", "/chat", body)
        assert failed.body["detail"] == "The provider 'mock' failed: bad key [redacted]!"
        assert [each.api_keys for each in own.provider.requests] == [{"mock": SECRET}] * 2
        assert SECRET not in repr(own.provider.requests)
        first, second = records(own.api, "p")
        assert first["provider_response"] == {"key": ["[redacted]"]}
        assert second["error"] == "bad key [redacted]!"

    def test_what_is_no_key_is_left_alone(self) -> None:
        value = {"a": [1, None, "text"], "b": {"c": True}}
        assert redact_data(value, ["", "absent"]) == value


def test_the_writer_is_free_while_a_provider_works(own: Own) -> None:
    """Nothing is written between the two short transactions of a call."""
    own.provider.steps_ready("x", Ending("stop"))
    with transactions(own.database, "begin") as begun:
        own.api.ok("POST", "/chat", chat("p", num_samples=1))
    # The first one is begun again where it has to wait for other processes.
    assert begun in ([True] * 2, [True] * 3)


def test_slow_providers_don_t_hold_up_other_requests(own: Own) -> None:
    count = 45  # more than the threads of either pool
    answers: list[int] = []

    def run() -> None:
        answers.append(Api(own.server.url).call("POST", "/chat", chat("p")).status)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    assert own.provider.started.acquire(timeout=60)
    assert own.api.ok("GET", "/projects")["total"] == 1
    own.provider.steps_ready(*[step for _ in range(count) for step in ("x", Ending("stop"))])
    for thread in threads:
        thread.join(60)
    assert answers == [200] * count


async def call_app(
    app: Any, body: Any, sent_to: Callable[[dict[str, Any]], None] = lambda message: None
) -> int:
    """Call an application without a socket; `sent_to` sees what it sends, before it goes on."""
    requests = iter([{"type": "http.request", "body": json.dumps(body).encode()}])
    statuses: list[int] = []

    async def receive() -> Any:
        for request in requests:
            return request
        await asyncio.Event().wait()  # the reader stays

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])
        sent_to(message)

    headers = [(b"x-api-key", API_KEY.encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v4/chat", "headers": headers}
    await app({**scope, "query_string": b""}, receive, send)
    [status] = statuses
    return status


def test_more_chats_at_once_than_threads(database_url: str) -> None:
    count = 200

    async def main() -> list[int]:
        app = create_app(database_url, [API_KEY])
        async with app.router.lifespan_context(app):
            return await asyncio.gather(*(call_app(app, chat("p")) for _ in range(count)))

    assert asyncio.run(main()) == [200] * count
    statement = "SELECT count(*), count(DISTINCT id), count(finish_reason) FROM logs"
    assert query(database_url, statement) == [(count, count, count)]


def test_a_sample_is_kept_before_its_last_event_is_sent(database_url: str) -> None:
    kept: list[int] = []

    def look(message: dict[str, Any]) -> None:
        if b"finish_reason" in message.get("body", b""):
            statement = "SELECT count(*) FROM logs WHERE finish_reason IS NOT NULL"
            kept.append(query(database_url, statement)[0][0])

    async def main() -> None:
        app = create_app(database_url, [API_KEY])
        async with app.router.lifespan_context(app):
            await call_app(app, chat("p", stream=True, num_samples=3), look)

    asyncio.run(main())
    assert kept == [1, 2, 3]
