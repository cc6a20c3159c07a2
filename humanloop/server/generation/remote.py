"""A provider over the network: a wire, and the egress to one target.

Invariants: a caller's key goes to the provider that it is named for, and the server's own key to
the target that it was set for; neither outlives its call or appears in anything kept or reported.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from humanloop import schemas
from humanloop.server.generation.addresses import Target
from humanloop.server.generation.egress import Deadline, Egress, ProviderLimits, Reply
from humanloop.server.generation.providers import (
    Ending,
    ProviderError,
    ProviderRequest,
)
from humanloop.server.generation.wires import Answer, Ask, Wire, decode, error_message
from humanloop.server_sent_events import EventParser

_REFUSALS = frozenset({400, 404, 422})  # another form of the request may succeed
_MODELS = 1000  # models whose refusals are remembered
_JSON = ("application/json",)
_HTML = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Key:
    """The sources of a provider's key.

    name: the name in the caller's keys. variable: the name in the server's environment.
    needed: the provider refuses requests without a key.
    """

    name: str
    variable: str
    needed: bool

    @property
    def missing(self) -> bool:
        """Return whether callers have to send a key."""
        return self.needed and not os.environ.get(self.variable, "").strip()

    def of(self, request: ProviderRequest) -> str | None:
        """Return the caller's key, else the server's; raises ProviderError."""
        key = (request.api_keys.get(self.name) or os.environ.get(self.variable, "")).strip()
        if not key and self.needed:
            raise ProviderError(
                f"there is no key: set {self.variable} for the server, or send"
                f" `provider_api_keys` with {self.name!r}"
            )
        if not (key.isascii() and key.isprintable()):
            raise ProviderError("the key has characters that are not allowed in a header")
        return key or None


class Remote:
    """The provider at a target."""

    def __init__(self, wire: Wire, target: Target, key: Key, limits: ProviderLimits) -> None:
        self.target = target
        self.key = key
        self._wire = wire
        self._limits = limits
        self._egress = Egress(target)
        self._refusals = _Refusals()

    def __reduce__(self) -> Any:
        return type(self), (self._wire, self.target, self.key, self._limits)

    def generate(self, request: ProviderRequest) -> Generator[str, None, Ending]:
        """Yield the text in pieces, and return its Ending."""
        if request.spare:
            answer, sent = request.spare.pop(0)
            request.sent.append(sent)
            return (yield from _whole(answer))
        key = self.key.of(request)
        request.used_keys.extend([key] if key else [])
        deadline = Deadline(self._limits, request.cancellation)
        ask = self._refusals.apply(self._wire, request.model, self._wire.ask(request))
        while True:
            request.sent.append(ask.body)
            with self._egress.send(
                ask.path,
                schemas.to_json(ask.body).encode(),
                self._wire.headers(key),
                deadline,
                stream=request.stream,
            ) as reply:
                if reply.is_success:
                    return (yield from self._read(reply, request))
                said = reply.read_error()
                other = self._wire.amend(ask, said) if reply.status in _REFUSALS else None
                if other is None:
                    raise ProviderError(_refusal(reply, said))
            self._refusals.add(request.model, said)
            ask = other

    def _read(self, reply: Reply, request: ProviderRequest) -> Generator[str, None, Ending]:
        """Read a successful answer, a stream or a complete body."""
        if reply.media_type in _HTML:
            said = error_message(reply.read_error())
            raise ProviderError(f"{reply.title}, with an HTML page in place of JSON: {said}")
        if request.stream and reply.media_type not in _JSON:
            return (yield from self._stream(reply))
        answer, *others = self._wire.answers(decode(reply.read_all(), "the answer"))
        sent = request.sent[-1]
        request.spare.extend((each, sent) for each in others[: request.count - 1])
        return (yield from _whole(answer))

    def _stream(self, reply: Reply) -> Generator[str, None, Ending]:
        parser = EventParser()
        pieces = self._wire.pieces()
        next(pieces)
        try:
            while data := reply.read():
                for event in _events(parser, data):
                    text = pieces.send(event)
                    if text:
                        yield text
            pieces.send(None)
        except StopIteration as end:
            ending: Ending = end.value
            return ending
        raise ProviderError("the stream ended before the answer was complete")


class _Refusals:
    """The refusals of each model, so that its next request has the right form at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._said: OrderedDict[str, Sequence[str]] = OrderedDict()

    def add(self, model: str, said: str) -> None:
        """Remember the body of a refusal after which `amend` found another form."""
        with self._lock:
            self._said[model] = (*self._said.pop(model, ()), said)
            if len(self._said) > _MODELS:
                self._said.popitem(last=False)

    def apply(self, wire: Wire, model: str, ask: Ask) -> Ask:
        """Return the request in the form that the model has not refused."""
        with self._lock:
            known = self._said.get(model, ())
        for said in known:
            ask = wire.amend(ask, said) or ask
        return ask


def _whole(answer: Answer) -> Generator[str, None, Ending]:
    if answer.text:
        yield answer.text
    return answer.ending


def _events(parser: EventParser, data: bytes) -> Any:
    try:
        return parser.feed(data)
    except ValueError as error:
        raise ProviderError(str(error)) from None


def _refusal(reply: Reply, said: str) -> str:
    """Return the error text for an answer other than success."""
    if 300 <= reply.status <= 399:
        return f"{reply.title}: redirects are not followed"
    message = error_message(said)
    text = f"{reply.title}: {message}" if message else reply.title
    return f"{text} ({reply.no_retry})" if reply.no_retry else text
