"""HTTP messages: headers, media types, a request and its response. Nothing here does I/O.

Invariants: no repr shows a key or what a body says.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import cast

from humanloop.secrets import MASK, is_secret_name, redact, redact_json, secret_values

__all__ = [
    "Headers",
    "RawResponse",
    "Request",
    "is_event_stream",
    "is_json",
    "masked_body",
    "masked_headers",
    "media_type",
]

_PARTS = re.compile(r"[^\s;,=]+")
"""The parts of a header's value: the token after "Bearer ", the values of a cookie."""


class Headers(MutableMapping[str, str]):
    """HTTP header fields, case-insensitive by name (RFC 9110 section 5.1), in the order they came.

    A field that came several times reads as one value joined by `, `; `getlist` gives each.
    The repr masks what authenticates.
    """

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, tuple[str, list[str]]] = {}
        if isinstance(fields, Headers):
            self._fields = {k: (name, [*values]) for k, (name, values) in fields._fields.items()}
            return
        if isinstance(fields, Mapping):
            fields = cast("Mapping[str, str]", fields).items()
        for name, value in fields:
            self.add(name, value)

    def add(self, name: str, value: str) -> None:
        """Add a value beside those that the field has."""
        self._fields.setdefault(name.lower(), (name, []))[1].append(value)

    def getlist(self, name: str) -> list[str]:
        """Return every value of a field; an empty list when it is absent."""
        return list(self._fields.get(name.lower(), (name, []))[1])

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._fields[name.lower()][1])

    def __setitem__(self, name: str, value: str) -> None:
        self._fields[name.lower()] = (name, [value])

    def __delitem__(self, name: str) -> None:
        del self._fields[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._fields.values())

    def items(self) -> ItemsView[str, str]:
        """Return the names and values, in a view that needs no lookup for each of them."""
        return {name: ", ".join(values) for name, values in self._fields.values()}.items()

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        theirs = Headers(cast("Mapping[str, str]", other))
        return {k.lower(): v for k, v in self.items()} == {k.lower(): v for k, v in theirs.items()}

    def __repr__(self) -> str:
        return f"Headers({masked_headers(self)})"


@dataclass(frozen=True)
class Request:
    """One HTTP request, complete.

    host: the base URL, such as `https://api.humanloop.com/v4`; path: what follows it, encoded;
    query: encoded, without `?`; body: bytes as they go out.
    timeout: seconds for the whole exchange; connect_timeout: for making a connection, within
    `timeout`; read_timeout: for each wait for more bytes of the answer. None: no limit.
    stream: whether an answer of events is wanted as a `RawStream`.
    The repr shows neither keys nor what the body says.
    """

    method: str
    host: str
    path: str
    query: str
    headers: Headers
    body: bytes | None = None
    timeout: float | None = None
    connect_timeout: float | None = None
    read_timeout: float | None = None
    stream: bool = False

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.host}{self.path}" + (f"?{self.query}" if self.query else "")

    def secrets(self, configured: Iterable[str] = ()) -> list[str]:
        """Return the values that authenticate: in headers, and under secret names in the body.

        configured: values that are known to be secret besides.
        """
        found = list(configured)
        for name, value in self.headers.items():
            if is_secret_name(name):
                found += [value, *_PARTS.findall(value)]
        if self.body:
            with contextlib.suppress(ValueError, RecursionError):
                found += secret_values(json.loads(self.body))
        return found

    def as_curl(self) -> str:
        """Return the request as a command for curl, with `***` in place of every key."""
        secrets = self.secrets()
        parts = ["curl", "--request", self.method, redact(self.url, secrets)]
        for name, value in masked_headers(self.headers).items():
            parts += ["--header", f"{name}: {redact(value, secrets)}"]
        if self.body is not None:
            parts += ["--data-raw", masked_body(self.body, secrets)]
        return " ".join(map(shlex.quote, parts))

    def __repr__(self) -> str:
        size = "None" if self.body is None else f"<{len(self.body)} bytes>"
        return f"Request({self.method} {self.url}, headers={self.headers!r}, body={size})"


@dataclass(frozen=True)
class RawResponse:
    """One HTTP response, read to its end; elapsed: seconds, from sending to the last byte."""

    status: int
    reason: str
    headers: Headers
    data: bytes
    elapsed: float = 0.0

    @property
    def text(self) -> str:
        """`data` as UTF-8; what is not is replaced by U+FFFD."""
        return self.data.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"RawResponse({self.status} {self.reason}, <{len(self.data)} bytes>)"


def media_type(headers: Mapping[str, str]) -> str:
    """Return the media type of Content-Type, in lower case, without parameters."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def is_json(headers: Mapping[str, str]) -> bool:
    """Tell whether a body is JSON: application/json, or with the suffix +json (RFC 6839)."""
    name = media_type(headers)
    return name == "application/json" or name.endswith("+json")


def is_event_stream(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether a response is a stream of server-sent events (WHATWG HTML, section 9.2)."""
    return 200 <= status <= 299 and media_type(headers) == "text/event-stream"


def masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with a mask in place of the values that authenticate."""
    return {name: MASK if is_secret_name(name) else value for name, value in headers.items()}


def masked_body(data: bytes, secrets: Iterable[str] = ()) -> str:
    """Return a body as text, without `secrets`; in JSON, without the values of secret names."""
    text = data.decode("utf-8", "replace")
    if text.lstrip()[:1] in ("{", "["):
        try:
            text = redact_json(text)
        except ValueError:
            return f"({len(data):,} bytes that can't be read, and may hold keys)"
    return redact(text, secrets)
