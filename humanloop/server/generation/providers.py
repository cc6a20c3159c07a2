"""The interface of providers, which serve models.

A Provider takes plain data and yields text, piece by piece. It knows nothing of the database, of
the caller's HTTP request, or of logs. Invariants: it runs in a thread that it may block, but never
inside a transaction; its api_keys go to the provider and nowhere else.
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
    """The answer is not wanted any more."""


class Cancellation:
    """A signal to an adapter that the answer is not wanted any more; set from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Return whether `cancel` was called."""
        return self._event.is_set()

    def cancel(self) -> None:
        """End every wait that depends on this."""
        self._event.set()
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            end()

    def wait(self, seconds: float) -> None:
        """Wait that long; raises Cancelled as soon as `cancel` is called."""
        if self._event.wait(seconds):
            raise Cancelled

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Generator[None]:
        """Call `end`, which must not block, if `cancel` is or was called before the block ends."""
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
    """A request to a provider.

    messages: the conversation for a chat endpoint; prompt: the text for a completion endpoint.
        Exactly one of them is set; the other is None.
    parameters: the parameters that the config and the request set, by their names in the API;
        without a `max_tokens` of -1.
    other: the config's parameters that have no key in the API.
    index: the number of the sample within its call, from 0.
    stream: the caller reads along, so early pieces are useful.
    api_keys: the caller's own keys, by their names in the API.
    count: how many samples of the call, this one included, still ask the same. An adapter that gets
        several answers at once keeps those for the later samples in `spare`, which they share.
    sent: the adapter appends each body that it sends, as plain data without keys; the last is kept
        in the log.
    used_keys: the adapter appends a key of the server's own that it sends, so that it is redacted
        everywhere.
    cancellation: signals that the answer is not wanted any more.
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
    """The end of an answer, known once its text is complete.

    finish_reason: `stop`, `length` at the limit of tokens, `tool_calls`, or a value of the
        provider's own.
    prompt_tokens, generation_tokens: the tokens used; None if the provider does not report them.
    response: the provider's own answer, as plain data.
    tool_calls: the tools that the model wants to call, each with its `name`, its `arguments` and
        the `id` that the message with the result repeats.
    """

    finish_reason: str
    prompt_tokens: int | None = None
    generation_tokens: int | None = None
    response: dict[str, Any] = field(default_factory=dict[str, Any])
    tool_calls: Sequence[Mapping[str, Any]] = ()


class Provider(Protocol):
    """The base of adapters. One object answers all requests, from several threads at once."""

    def generate(self, request: ProviderRequest) -> Generator[str, None, Ending]:
        """Yield the text in pieces, and return its Ending.

        Raises ProviderError at any time, and Cancelled once the request's `cancellation` is set. A
        step that ignores it and has no time limit occupies a thread and keeps the server from
        stopping. The generator is closed if the rest is not wanted.
        """
        ...


def storable(text: str) -> str:
    """Return text that every database can keep, with U+FFFD in place of other characters.

    These are U+0000, which PostgreSQL refuses, and lone surrogates, which appear in text that was
    cut.
    """
    return (
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    )


def redact_data(value: Any, secrets: Collection[str]) -> Any:
    """Remove the secrets from plain data, in case a provider repeats its request.

    Every database can keep the result.
    """
    if isinstance(value, str):
        return storable(redact(value, secrets, MASK))
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {redact_data(key, secrets): redact_data(each, secrets) for key, each in items}
    if isinstance(value, (list, tuple)):
        return [redact_data(each, secrets) for each in cast("Sequence[object]", value)]
    return value
