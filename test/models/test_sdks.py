"""The official SDKs, told the same, send the same JSON to the same place, with the same key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from server.generation.serving import HELLO, Chats, chats, completed, message, streamed, typed

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

KEY = "sk-the-callers-own-0123456789"
USER: Any = [{"role": "user", "content": "Cold in Oslo?"}]
SYSTEM: Any = [{"role": "system", "content": "Be brief."}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "get_weather", "description": "d", "parameters": SCHEMA}
ARGUMENTS = '{"city":"Oslo"}'
FUNCTION = {"name": "get_weather", "arguments": ARGUMENTS}
ASKED: Any = {"role": "assistant", "content": "I look."}
TOLD: Any = {"role": "tool", "content": "-3"}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}


class Case:
    """What is said to us and to an SDK.

    config: of the model; call: the other keys of our call; sdk: the SDK's arguments beside `model`.
    """

    def __init__(
        self, sdk: Mapping[str, Any], *, config: Mapping[str, Any] | None = None, **call: Any
    ) -> None:
        self.sdk, self.config, self.call = dict(sdk), dict(config or {}), call


OPENAI = {
    "plain": Case({"messages": USER}),
    "temperature": Case({"messages": USER, "temperature": 0.3}, config={"temperature": 0.3}),
    "sampling": Case(
        {"messages": USER, "top_p": 0.5, "presence_penalty": -1, "frequency_penalty": 0.5},
        config={"top_p": 0.5, "presence_penalty": -1, "frequency_penalty": 0.5},
    ),
    "limit": Case({"messages": USER, "max_tokens": 5}, config={"max_tokens": 5}),
    "stop": Case({"messages": USER, "stop": ["a", "b"]}, config={"stop": ["a", "b"]}),
    "seed": Case(
        {"messages": USER, "seed": 7, "response_format": FORMAT},
        config={"other": {"seed": 7, "response_format": FORMAT}},
    ),
    "system": Case({"messages": SYSTEM + USER, "user": "ada"}, messages=SYSTEM + USER, user="ada"),
    "tools": Case(
        {
            "messages": USER,
            "tools": [{"type": "function", "function": TOOL}],
            "tool_choice": "auto",
        },
        config={"tools": [TOOL], "other": {"tool_choice": "auto"}},
    ),
    "told": Case(
        {
            "messages": [
                *USER,
                {**ASKED, "tool_calls": [{"id": "c", "type": "function", "function": FUNCTION}]},
                {**TOLD, "tool_call_id": "c"},
            ]
        },
        messages=[*USER, {**ASKED, "tool_call": {**FUNCTION, "id": "c"}}, TOLD],
    ),
    "samples": Case({"messages": USER, "n": 3}, num_samples=3),
    "stream": Case(
        {"messages": USER, "stream": True, "stream_options": {"include_usage": True}}, stream=True
    ),
    "unicode": Case(
        {"messages": [{"role": "user", "content": '\u00e4\u4e2d\U0001f600\n"\\'}]},
        messages=[{"role": "user", "content": '\u00e4\u4e2d\U0001f600\n"\\'}],
    ),
}
COMPLETIONS = {
    "prompt": Case({"prompt": "Once", "max_tokens": 3}, config={"max_tokens": 3}),
    "more": Case(
        {"prompt": "Once", "logprobs": 2, "suffix": ".", "n": 2, "stop": "x"},
        config={"stop": "x"},
        logprobs=2,
        suffix=".",
        num_samples=2,
    ),
}
ANTHROPIC = {
    "plain": Case({"messages": USER, "max_tokens": 4096}),
    "parameters": Case(
        {"messages": USER, "max_tokens": 5, "temperature": 0.3, "top_p": 0.5, "top_k": 4},
        config={"max_tokens": 5, "temperature": 0.3, "top_p": 0.5, "other": {"top_k": 4}},
    ),
    "system": Case(
        {"messages": USER, "max_tokens": 4096, "system": "Be brief."}, messages=SYSTEM + USER
    ),
    "stop": Case(
        {
            "messages": USER,
            "max_tokens": 4096,
            "stop_sequences": ["a"],
            "metadata": {"user_id": "ada"},
        },
        config={"stop": ["a"]},
        user="ada",
    ),
    "tools": Case(
        {
            "messages": USER,
            "max_tokens": 4096,
            "tools": [{"name": "get_weather", "description": "d", "input_schema": SCHEMA}],
            "tool_choice": {"type": "any"},
        },
        config={"tools": [TOOL], "other": {"tool_choice": {"type": "any"}}},
    ),
    "told": Case(
        {
            "max_tokens": 4096,
            "messages": [
                *USER,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "I look."},
                        {
                            "type": "tool_use",
                            "id": "c",
                            "name": "get_weather",
                            "input": {"city": "Oslo"},
                        },
                    ],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "c", "content": "-3"}],
                },
            ],
        },
        messages=[*USER, {**ASKED, "tool_call": {**FUNCTION, "id": "c"}}, TOLD],
    ),
    "stream": Case({"messages": USER, "max_tokens": 4096, "stream": True}, stream=True),
}
END = {"stop_reason": "end_turn"}
SAID = streamed(
    typed("message_start", message=message(stop_reason=None)),
    typed("message_delta", delta=END, usage={"output_tokens": 1}),
    typed("message_stop"),
)


@pytest.fixture(scope="module")
def by_openai() -> Iterator[Chats]:
    with chats() as found:
        yield found


@pytest.fixture(scope="module")
def by_anthropic() -> Iterator[Chats]:
    with chats("anthropic") as found:
        yield found


def sent_alike(found: Chats, names: tuple[str, ...]) -> None:
    """Compare the last two requests: their targets, some headers, and their bodies."""
    ours, theirs = found.provider.requests[-2:]
    assert ours.target == theirs.target
    assert ours.json == theirs.json
    ours_by_name = {name.lower(): value for name, value in ours.headers.items()}
    theirs_by_name = {name.lower(): value for name, value in theirs.headers.items()}
    for name in (*names, "content-type"):
        assert ours_by_name[name] == theirs_by_name[name], name


def call(found: Chats, case: Case) -> None:
    """Call by our server."""
    keys = {"openai": KEY, "anthropic": KEY}
    answer = found.chat(config=case.config, provider_api_keys=keys, **case.call | _messages(case))
    assert answer.status == 200, answer.text
    assert "event: error" not in answer.text


def _messages(case: Case) -> dict[str, Any]:
    return {"messages": case.call.get("messages", USER)}


@pytest.mark.parametrize("name", OPENAI)
def test_openai(by_openai: Chats, name: str) -> None:
    case, provider = OPENAI[name], by_openai.provider
    provider.send_raw(HELLO) if "stream" in case.sdk else provider.answer(completed(*"abc"))
    call(by_openai, case)
    url = f"http://127.0.0.1:{provider.port}/v1"
    with openai.OpenAI(api_key=KEY, base_url=url, max_retries=0) as client:
        found = client.chat.completions.create(model="m", **case.sdk)
        if "stream" in case.sdk:
            found.close()
    sent_alike(by_openai, ("authorization",))


@pytest.mark.parametrize("name", COMPLETIONS)
def test_openais_completions(by_openai: Chats, name: str) -> None:
    case, provider = COMPLETIONS[name], by_openai.provider
    choices = [{"index": index, "text": "x", "finish_reason": "stop"} for index in range(2)]
    provider.answer({"object": "text_completion", "choices": choices})
    config = {"model": "m", "prompt_template": "Once", **case.config}
    body = {"project": "p", "model_config": config, "provider_api_keys": {"openai": KEY}}
    by_openai.api.ok("POST", "/completion", {**body, **case.call})
    url = f"http://127.0.0.1:{provider.port}/v1"
    with openai.OpenAI(api_key=KEY, base_url=url, max_retries=0) as client:
        client.completions.create(model="m", **case.sdk)
    sent_alike(by_openai, ("authorization",))


@pytest.mark.parametrize("name", ANTHROPIC)
def test_anthropic(by_anthropic: Chats, name: str) -> None:
    case, provider = ANTHROPIC[name], by_anthropic.provider
    provider.send_raw(SAID) if "stream" in case.sdk else provider.answer(message("Hello"))
    call(by_anthropic, case)
    url = f"http://127.0.0.1:{provider.port}"
    with anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0) as client:
        found = client.messages.create(model="m", **case.sdk)
        if "stream" in case.sdk:
            found.close()
    sent_alike(by_anthropic, ("x-api-key", "anthropic-version"))


def test_there_are_enough_of_them() -> None:
    assert len(OPENAI) + len(COMPLETIONS) + len(ANTHROPIC) >= 20
