"""HTTP messages: headers, media types, a request and its response. Nothing here does I/O.

Invariants: no repr shows a key or what a body says, and nothing that iterates over headers gets a
credential; `Headers.reveal`, and asking for one by its name, give what goes on the wire.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from dataclasses import dataclass
from typing import Any, TypeVar, cast, overload

from humanloop.secrets import (
    Secret,
    hidden,
    is_secret_header,
    redact,
    redact_json,
    revealed,
    secret_values,
)

__all__ = [
    "Headers",
    "RawResponse",
    "Request",
    "is_event_stream",
    "is_json",
    "masked_body",
    "media_type",
]

T = TypeVar("T")

_PARTS = re.compile(r"[^\s;,=]+")
"""The parts of a header's value: the token after "Bearer ", the values of a cookie."""


class Headers(MutableMapping[str, str]):
    """HTTP header fields, case-insensitive by name (RFC 9110 section 5.1), in the order they came.

    A field that came several times reads as one value joined by `, `; `getlist` gives each.
    Credentials, which are known by the names of their fields, are masked in the repr, in `items`
    and in `values`; `headers[name]`, `get`, `getlist` and `reveal` return them.
    """

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        # The name as it came, the values, and whether these are Secrets.
        self._fields: dict[str, tuple[str, list[Any], bool]] = {}
        if isinstance(fields, Headers):
            theirs = fields._fields.items()
            self._fields = {
                key: (name, [*values], secret) for key, (name, values, secret) in theirs
            }
            return
        if isinstance(fields, Mapping):
            fields = cast("Mapping[str, str]", fields).items()
        for name, value in fields:
            self.add(name, value)

    def add(self, name: str, value: str) -> None:
        """Add a value to those of the field."""
        known = self._fields.get(name.lower())
        if known is None:
            self[name] = value
        else:
            known[1].append(Secret(value) if known[2] else value)

    def set_secret(self, name: str, value: str) -> None:
        """Set a field to a value that is a credential whatever the field's name."""
        self._fields[name.lower()] = (name, [Secret(value)], True)

    def getlist(self, name: str) -> list[str]:
        """Return every value of a field; an empty list when it is absent."""
        _, values, _ = self._fields.get(name.lower(), (name, [], False))
        return [*map(revealed, values)]

    def __getitem__(self, name: str) -> str:
        _, values, secret = self._fields[name.lower()]
        return ", ".join(map(revealed, values) if secret else values)

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str | T) -> str | T: ...
    def get(self, name: str, /, default: Any = None) -> Any:
        """Return the value of a field, or `default` when it is absent."""
        # The one of Mapping raises and catches an error for each field that is absent.
        return self[name] if name.lower() in self._fields else default

    def __setitem__(self, name: str, value: str) -> None:
        if is_secret_header(name):
            self.set_secret(name, value)
        else:
            self._fields[name.lower()] = (name, [value], False)

    def __delitem__(self, name: str) -> None:
        del self._fields[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return (name for name, _, _ in self._fields.values())

    def reveal(self) -> dict[str, str]:
        """Return the names and values in clear, as they go on the wire."""
        return {
            name: ", ".join(map(revealed, values) if secret else values)
            for name, values, secret in self._fields.values()
        }

    def secrets(self) -> list[str]:
        """Return the values that are masked, in clear."""
        fields = self._fields.values()
        return [revealed(value) for _, values, secret in fields if secret for value in values]

    def items(self) -> ItemsView[str, str]:
        """Return the names and values, with a mask for credentials."""
        return self._masked().items()

    def values(self) -> ValuesView[str]:
        """Return the values, with a mask for credentials."""
        return self._masked().values()

    def _masked(self) -> dict[str, str]:
        # A str of a Secret is its mask.
        return {name: ", ".join(map(str, values)) for name, values, _ in self._fields.values()}

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        theirs = Headers(cast("Mapping[str, str]", other)).reveal()
        return {k.lower(): v for k, v in self.reveal().items()} == {
            k.lower(): v for k, v in theirs.items()
        }

    def __repr__(self) -> str:
        return f"Headers({self._masked()})"


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
    body: bytes | None = hidden(bytes)
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
        for value in self.headers.secrets():
            found += [value, *_PARTS.findall(value)]
        if self.body:
            with contextlib.suppress(ValueError, RecursionError):
                found += secret_values(json.loads(self.body))
        return found

    def as_curl(self) -> str:
        """Return the request as a command for curl, with `***` in place of every key."""
        secrets = self.secrets()
        parts = ["curl", "--request", self.method, redact(self.url, secrets)]
        for name, value in self.headers.items():
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
    """Return whether a body is JSON: application/json, or with the suffix +json (RFC 6839)."""
    name = media_type(headers)
    return name == "application/json" or name.endswith("+json")


def is_event_stream(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether a response is a stream of server-sent events (WHATWG HTML, section 9.2)."""
    return 200 <= status <= 299 and media_type(headers) == "text/event-stream"


def masked_body(data: bytes, secrets: Iterable[str] = ()) -> str:
    """Return a body as text, without `secrets`; in JSON, without the values of secret names."""
    text = data.decode("utf-8", "replace")
    if text.lstrip()[:1] in ("{", "["):
        try:
            text = redact_json(text)
        except ValueError:
            return f"({len(data):,} bytes that can't be read, and may hold keys)"
    return redact(text, secrets)
