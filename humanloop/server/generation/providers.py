"""What serves a model: the side of the server that an adapter for a provider is written to.

A Provider gets plain data and gives back text, piece by piece. It knows nothing of the database,
of HTTP towards the caller, or of logs. Invariants: it runs in a thread that it may block, but
never inside a transaction; its api_keys go to the provider and nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from humanloop.secrets import redact

MASK = "[redacted]"


class ProviderError(Exception):
    """The provider could not answer; the text is kept in the log and shown to the caller."""


class Cancelled(Exception):
    """Nobody wants the answer any more."""


class Cancellation:
    """Tells an adapter that nobody wants the answer any more; `cancel` may come from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._event.is_set()

    def cancel(self) -> None:
        """End whatever is waited for."""
        self._event.set()
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            end()

    def wait(self, seconds: float) -> None:
        """Let the time pass; raises Cancelled as soon as it is cancelled."""
        if self._event.wait(seconds):
            raise Cancelled

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Generator[None]:
        """Call `end`, which does not wait, when it is cancelled meanwhile, or was before."""
        with self._lock:
            self._ends.append(end)
        try:
            if self.cancelled:
                end()
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


@dataclass(frozen=True)
class ProviderRequest:
    """Hold what a provider is asked.

    messages: the conversation for a chat endpoint; prompt: the text for a completion endpoint.
        One of them is there, the other is None.
    parameters: the config's and the request's that are set, under the names of the API; a
        `max_tokens` of -1 is not.
    other: the parameters of the config that have no key in the API.
    index: which of the samples of a call it is, from 0.
    stream: whether the caller reads along, so that early pieces are worth having.
    api_keys: the caller's own keys, by the names of the API.
    count: how many samples of the call, this one included, still ask the same. An adapter that gets
        several answers at once keeps those for the later samples in `spare`, which they share.
    sent: the adapter adds what it sends, as plain data without keys; the last is kept in the log.
    used_keys: the adapter adds a key of the server's own that it sends, so that it shows nowhere.
    cancellation: says when nobody wants the answer any more.
    """

    model: str
    messages: Sequence[Mapping[str, Any]] | None = None
    prompt: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    other: Mapping[str, Any] = field(default_factory=dict[str, Any])
    index: int = 0
    stream: bool = False
    api_keys: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    count: int = 1
    spare: list[Any] = field(default_factory=list[Any], repr=False)
    sent: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]], repr=False)
    used_keys: list[str] = field(default_factory=list[str], repr=False)
    cancellation: Cancellation = field(default_factory=Cancellation, repr=False)


@dataclass(frozen=True)
class Ending:
    """Hold what a provider says once all the text is there.

    finish_reason: `stop`, `length` at the limit of tokens, `tool_calls`, or a word of the
        provider's own.
    prompt_tokens, generation_tokens: what it took; None where the provider does not tell.
    response: the provider's own answer, as plain data.
    tool_calls: the tools that the model wants to be called, each with its `name`, its `arguments`
        and the `id` that the message with the result repeats.
    """

    finish_reason: str
    prompt_tokens: int | None = None
    generation_tokens: int | None = None
    response: dict[str, Any] = field(default_factory=dict[str, Any])
    tool_calls: Sequence[Mapping[str, Any]] = ()


class Provider(Protocol):
    """An adapter. One object answers all requests, from several threads at once."""

    def generate(self, request: ProviderRequest) -> Generator[str, None, Ending]:
        """Yield the text in pieces, and return how it ended.

        Raises ProviderError at any time, and Cancelled once the request's `cancellation` says so. A
        step that heeds neither that nor a limit of time keeps a thread, and the server from
        stopping. The generator is closed when nobody wants the rest.
        """
        ...


def storable(text: str) -> str:
    """Return text that every database keeps: U+FFFD stands in it for what can't be kept.

    That is U+0000, which PostgreSQL refuses, and halves of surrogate pairs, as which some text
    comes when it is cut.
    """
    return (
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    )


def redact_data(value: Any, secrets: Collection[str]) -> Any:
    """Remove the secrets from plain data, in case a provider repeats what it was sent.

    What is left can be kept.
    """
    if isinstance(value, str):
        return storable(redact(value, secrets, MASK))
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {redact_data(key, secrets): redact_data(each, secrets) for key, each in items}
    if isinstance(value, (list, tuple)):
        return [redact_data(each, secrets) for each in cast("Sequence[object]", value)]
    return value
