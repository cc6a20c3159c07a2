"""The providers' own clients, wrapped: what they give out is theirs; what they did is logged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server.api import API_KEY

from humanloop import Humanloop, wrap
from humanloop.server import EmbeddedServer

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

HI: Any = [{"role": "user", "content": "Hi"}]
HELLO = "Hello from a fake model."


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Humanloop]:
    with (
        EmbeddedServer(api_key=API_KEY) as server,
        Humanloop(API_KEY, server.url, spool=tmp_path, bodies="plain") as found,
    ):
        yield found


def logged(client: Humanloop, project: str) -> list[dict[str, Any]]:
    """The logs of a project, oldest first."""
    assert client.flush().left == 0
    assert client.tracer.failures == 0
    [found] = client.projects.list(filter=project).body["records"]
    records: Any = [*client.projects.iterate_export(id=found["id"])]
    return records[::-1]


def chat(provider: Any, **keys: Any) -> Any:
    return provider.chat.completions.create(model="gpt-4", messages=HI, **keys)


def helper(provider: Any) -> Any:
    with provider.chat.completions.stream(model="gpt-4", messages=HI) as stream:
        return [event.type for event in stream]


def raw(provider: Any) -> Any:
    answer = provider.chat.completions.with_raw_response.create(model="gpt-4", messages=HI)
    return type(answer), answer.parse().choices[0].message.content


def raw_stream(provider: Any) -> Any:
    create = provider.chat.completions.with_streaming_response.create
    with create(model="gpt-4", messages=HI) as answer:
        return type(answer), answer.parse().choices[0].message.content


OPENAI: dict[str, Callable[[Any], Any]] = {
    "plain": lambda p: (type(chat(p)), chat(p).choices[0].message.content),
    "stream": lambda p: (
        type(chat(p, stream=True)),
        [piece.choices[0].delta.content for piece in chat(p, stream=True) if piece.choices],
    ),
    "helper": helper,
    "raw": raw,
    "raw stream": raw_stream,
    "copy": lambda p: chat(p.with_options(timeout=5)).choices[0].message.content,
}


@pytest.mark.parametrize("kind", OPENAI)
def test_openai(client: Humanloop, fake_url: str, kind: str) -> None:
    def make() -> Any:
        return openai.OpenAI(api_key="sk-1234567890", base_url=f"{fake_url}/v1", max_retries=0)

    with make() as theirs, make() as ours:
        wrapped = wrap(ours, client=client, project="p")
        assert wrapped is ours
        assert OPENAI[kind](wrapped) == OPENAI[kind](theirs)
    for record in logged(client, "p"):
        assert record["messages"] == HI
        assert record["config"]["model"] == "gpt-4"
        if "output" in record:  # a stream that nobody read has none
            assert record["output"] == HELLO
    assert any(record.get("output") == HELLO for record in logged(client, "p"))


def test_anthropic(client: Humanloop, fake_url: str) -> None:
    def make() -> Any:
        return anthropic.Anthropic(api_key="sk-ant-123456", base_url=fake_url, max_retries=0)

    def ask(provider: Any) -> Any:
        keys: Any = {"model": "claude-3", "max_tokens": 9, "messages": HI}
        answer = provider.messages.create(**keys)
        with provider.messages.stream(**keys) as stream:
            return type(answer), answer.content[0].text, "".join(stream.text_stream)

    with make() as theirs, make() as ours:
        assert ask(wrap(ours, client=client)) == ask(theirs)
    records = logged(client, "anthropic")
    assert [record["output"] for record in records] == [HELLO] * 2
    assert {record["config"]["max_tokens"] for record in records} == {9}


def test_asynchronous_ones(client: Humanloop, fake_url: str) -> None:
    async def run() -> None:
        async with wrap(
            openai.AsyncOpenAI(api_key="sk-1234567890", base_url=f"{fake_url}/v1"), client=client
        ) as provider:
            assert (await chat(provider)).choices[0].message.content == HELLO
            pieces = [each async for each in await chat(provider, stream=True)]
            assert len(pieces) > 1
        async with wrap(
            anthropic.AsyncAnthropic(api_key="sk-ant-123456", base_url=fake_url), client=client
        ) as provider:
            keys: Any = {"model": "claude-3", "max_tokens": 9, "messages": HI}
            async with provider.messages.stream(**keys) as stream:
                assert "".join([text async for text in stream.text_stream]) == HELLO

    asyncio.run(run(), debug=True)
    assert [each["output"] for each in logged(client, "openai")] == [HELLO] * 2
    assert [each["output"] for each in logged(client, "anthropic")] == [HELLO]


def test_errors(client: Humanloop, fake_url: str) -> None:
    provider = openai.OpenAI(api_key="sk-1", base_url=f"{fake_url}/v1", max_retries=1)
    with wrap(provider, client=client), pytest.raises(openai.RateLimitError):
        provider.with_options(max_retries=0).chat.completions.create(model="busy", messages=HI)
    [record] = logged(client, "openai")
    assert record["error"].startswith("HTTP 429: ")
