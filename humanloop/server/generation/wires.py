"""The common parts of the two wires: their types, and the reading of JSON.

A wire translates and does no I/O: a ProviderRequest becomes an Ask; JSON, or the events of a
stream, become text and Endings. Invariants: an Ask holds no key; any data that deviates from the
provider's API raises a ProviderError and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from humanloop import schemas, secrets
from humanloop.decoded import JsonObject, as_list, as_object, as_text
from humanloop.secrets import mask_keys, one_line, shorten
from humanloop.server.generation.providers import MASK, Ending, ProviderError, ProviderRequest
from humanloop.server_sent_events import ServerSentEvent

_SHOWN = 500  # characters of a provider's error message
_HTML_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Ask:
    """An outgoing request: the path below the base URL, and the JSON body."""

    path: str
    body: JsonObject


@dataclass(frozen=True)
class Answer:
    """One complete sample."""

    text: str
    ending: Ending


Pieces = Generator[str, ServerSentEvent | None, Ending]
"""The reader of one stream: receives each event, and None at the end, and yields their text.

It returns the Ending at the event that completes the answer. Raises ProviderError.
"""


class Wire(Protocol):
    """The interface of a provider's API."""

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the header fields for authentication, and those that the API requires."""
        ...

    def ask(self, request: ProviderRequest) -> Ask:
        """Return the request to send; raises ProviderError for a config that can't be sent."""
        ...

    def amend(self, ask: Ask, said: str) -> Ask | None:
        """Return another way to ask after a refusal with this body; None if there is none."""
        ...

    def answers(self, body: Any) -> list[Answer]:
        """Return the samples in the body of an answer, at least one."""
        ...

    def pieces(self) -> Pieces:
        """Return the reader of a stream, before its first step."""
        ...


def check_other(request: ProviderRequest, reserved: frozenset[str]) -> None:
    """Raise ProviderError if a config's `other` sets what the server decides."""
    for key in sorted(reserved & request.other.keys()):
        raise ProviderError(f"the config's `other` can't set {key!r}")


def decode(text: str | bytes, what: str) -> Any:
    """Return the value of a JSON text; raises ProviderError, whose text calls it `what`."""
    try:
        return schemas.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except ValueError:
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise ProviderError(f"{what} is not JSON: {shorten(one_line(shown)) or 'empty'}") from None


def error_message(text: str) -> str:
    """Return the message in an error's body of any form, on one line."""
    try:
        said = _said(schemas.loads(text))
    except ValueError:
        title = _HTML_TITLE.search(text)
        said = _TAG.sub(" ", title[1] if title else text)
    return shorten(_without_keys(one_line(said or text)), _SHOWN)


def _without_keys(text: str) -> str:
    """Return a text without anything that looks like a key or a partly masked key."""
    words = mask_keys(text).split(" ")
    return " ".join(MASK if secrets.MASK in word else word for word in words)


def _said(value: Any) -> str:
    """Return the first text under one of the usual keys for error messages."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return _said(next(iter(as_list(value)), ""))
    found = as_object(value)
    if not found:
        return ""
    return next(
        filter(None, (_said(found.get(k)) for k in ("error", "message", "detail", "msg"))), ""
    )


def raise_error(value: JsonObject) -> None:
    """Raise ProviderError if a successful answer contains an error."""
    if value.get("error"):
        raise ProviderError(error_message(schemas.to_json(value)))


def arguments_object(arguments: Any) -> JsonObject:
    """Return the arguments of a tool call, which may be JSON text, as an object."""
    if isinstance(arguments, str):
        try:
            arguments = schemas.loads(arguments)
        except ValueError:
            return {}
    return as_object(arguments)


def call_ids(messages: Sequence[JsonObject]) -> list[str]:
    """Return, for each message, the id of the tool call that it makes or answers; "" for others.

    A call without an id gets one by its number. A result without one belongs to the oldest call of
    the tool that it names, or of any tool, that has no result yet.
    """
    ids: list[str] = []
    waiting: list[tuple[str, str]] = []  # the id and the tool of each call without a result
    for number, message in enumerate(messages):
        call = as_object(message.get("tool_call"))
        id_ = ""
        if call:
            id_ = as_text(call.get("id")) or f"call_{number}"
            waiting.append((id_, as_text(call.get("name"))))
        waiting += [
            (as_text(each.get("id")), as_text(as_object(each.get("function")).get("name")))
            for each in map(as_object, as_list(message.get("tool_calls")))
        ]
        if message["role"] == "tool":
            named = [each for each in waiting if each[1] == message.get("name")] or waiting
            id_ = as_text(message.get("tool_call_id")) or (named[0][0] if named else "")
            waiting = [each for each in waiting if each[0] != id_]
        ids.append(id_)
    return ids
