"""Another one's idea of both wires: fakellm, plain and streamed, with errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from server.api import API_KEY

from humanloop import Humanloop, ServiceUnavailableError
from humanloop.server import EmbeddedServer, Settings


@pytest.fixture(scope="module")
def client(fake_url: str) -> Iterator[Humanloop]:
    """A client of a server that has fakellm for both providers."""
    settings = Settings(providers=[f"openai={fake_url}", f"anthropic={fake_url}"])
    with (
        EmbeddedServer(api_key=API_KEY, settings=settings) as server,
        Humanloop(api_key=API_KEY, host=server.url) as found,
    ):
        yield found


def chat(client: Humanloop, provider: str, model: str, **keys: Any) -> Any:
    """Say Hi to a model."""
    return client.chat(
        project="fake",
        model_config={"provider": provider, "model": model},
        messages=[{"role": "user", "content": "Hi"}],
        **keys,
    )


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
class TestBothWires:
    def test_an_answer(self, client: Humanloop, provider: str) -> None:
        body = chat(client, provider, "m", num_samples=2).body
        assert [each["output"] for each in body["data"]] == ["Hello from a fake model."] * 2
        assert {each["finish_reason"] for each in body["data"]} == {"stop"}
        assert body["usage"]["generation_tokens"] > 0

    def test_a_stream(self, client: Humanloop, provider: str) -> None:
        with chat(client, provider, "m", stream=True) as stream:
            events = list(stream)
        assert len(events) > 3
        text = "".join(each["data"][0]["output"] for each in events)
        assert text == "Hello from a fake model."
        assert events[-1]["data"][0]["finish_reason"] == "stop"

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_call_of_a_tool(self, client: Humanloop, provider: str, stream: bool) -> None:
        if stream:
            with chat(client, provider, "tool", stream=True) as events:
                body = list(events)[-1]
        else:
            body = chat(client, provider, "tool").body
        [data] = body["data"]
        assert data["tool_call"]["name"] == "get_weather"
        assert data["tool_call"]["arguments"].replace(" ", "") == '{"city":"Oslo"}'
        assert data["finish_reason"] == "tool_calls"

    @pytest.mark.parametrize(
        ("model", "said"),
        [
            ("busy", "429 Too Many Requests: Slow down"),
            ("locked", "401 Unauthorized: No such key"),
        ],
    )
    def test_an_error(self, client: Humanloop, provider: str, model: str, said: str) -> None:
        with pytest.raises(ServiceUnavailableError) as error:
            chat(client, provider, model)
        assert f"The provider {provider!r} failed: {said}" in str(error.value)
        project = next(client.projects.iterate_list(filter="fake"))
        record = next(iter(client.projects.iterate_export(id=project["id"])))
        assert record["error"] == said
