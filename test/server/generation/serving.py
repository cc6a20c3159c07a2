"""A provider of the test's own on the loopback interface, and a server that is set up with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from client.conftest import Loopback, Recorded, response
from prepared import prepared

from humanloop.server import EmbeddedServer, ProviderLimits, Settings

from ..api import API_KEY, Answer, Api
from ..chatting import HI, records

__all__ = ["Loopback", "Recorded", "response"]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SECRET = "sk-the-server-s-own-key-0123456789"


def chunk(data: bytes) -> bytes:
    """A chunk of a body (RFC 9112, section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value: Any, kind: str = "") -> bytes:
    """A server-sent event with a JSON value, or with a text as it is."""
    name = f"event: {kind}\n" if kind else ""
    return f"{name}data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()


def streamed(*events: bytes, end: bytes = chunk(b"")) -> bytes:
    """A whole answer that is a stream."""
    return HEAD + b"".join(map(chunk, events)) + end


# -- OpenAI ---------------------------------------------------------------------------------------


def completed(*texts: str, **message: Any) -> dict[str, Any]:
    """A chat completion with a choice for each text."""
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, **message},
            "finish_reason": "stop",
        }
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": 2 * len(texts), "total_tokens": 7}
    return {"id": "c1", "object": "chat.completion", "choices": choices, "usage": usage}


def delta(content: Any = None, finish: str | None = None, **others: Any) -> bytes:
    """A chunk of a chat completion."""
    part = others if content is None else {"content": content, **others}
    choice = {"index": 0, "delta": part, "finish_reason": finish}
    return event({"id": "c1", "object": "chat.completion.chunk", "choices": [choice]})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
DONE = event("[DONE]")
HELLO = streamed(delta("", role="assistant"), delta("Hel"), delta("lo"), delta(finish="stop"), DONE)


# -- Anthropic ------------------------------------------------------------------------------------


def message(*blocks: Any, **others: Any) -> dict[str, Any]:
    """A message of Anthropic's; a text is a block of text."""
    content = [{"type": "text", "text": each} if isinstance(each, str) else each for each in blocks]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 2},
        **others,
    }


def typed(kind: str, **values: Any) -> bytes:
    """An event of Anthropic's, whose type stands in it twice."""
    return event({"type": kind, **values}, kind)


# -- a server -------------------------------------------------------------------------------------


class Chats:
    """Chats with a provider through a server; `provider` is the provider."""

    def __init__(self, provider: Loopback, server: EmbeddedServer, name: str) -> None:
        self.provider, self.server, self.name = provider, server, name
        self.api = Api(server.url)

    def body(self, *, config: Any = None, **keys: Any) -> dict[str, Any]:
        """A body for POST /chat, in the project `p`."""
        model_config = {"model": "m", "provider": self.name, **(config or {})}
        return {"project": "p", "model_config": model_config, **HI, **keys}

    def chat(self, path: str = "/chat", **keys: Any) -> Answer:
        """Chat."""
        return self.api.call("POST", path, self.body(**keys))

    def ok(self, path: str = "/chat", **keys: Any) -> Any:
        """Chat, which must succeed; return the answer's body."""
        return self.api.ok("POST", path, self.body(**keys))

    @property
    def sent(self) -> Any:
        """The JSON body of the last request to the provider."""
        return self.provider.requests[-1].json

    @property
    def log(self) -> Any:
        """The newest log."""
        return records(self.api, "p")[-1]

    def failed(self, **keys: Any) -> str:
        """Chat, which must fail as the log says it does; return what it says."""
        answer = self.chat(**keys)
        assert answer.status == 503, answer.text
        start, error = f"The provider {self.name!r} failed: ", self.log["error"]
        assert answer.body["detail"] == start + error
        assert "\n" not in error
        return str(error)


@contextmanager
def chats(
    name: str = "openai",
    *,
    certificate: str | None = None,
    limits: ProviderLimits | None = None,
    url: str = "",
    database_url: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Iterator[Chats]:
    """Run a provider, and a server that has it under a name; url: in place of its own address."""
    provider = Loopback(certificate)
    scheme = "https" if certificate else "http"
    base = url.format(provider.port) or f"{scheme}://127.0.0.1:{provider.port}/v1"
    settings = Settings(
        providers=[f"{name}={base}", *(more or {}).get("providers", ())],
        provider_limits=limits or ProviderLimits(),
    )
    try:
        with (
            nullcontext(database_url) if database_url else prepared() as own,
            EmbeddedServer(own, api_key=API_KEY, settings=settings) as server,
        ):
            yield Chats(provider, server, name if name in {"anthropic"} else "openai")
    finally:
        provider.close()
