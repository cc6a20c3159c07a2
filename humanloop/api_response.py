"""What a call returns: `ApiResponse`, with headers that are found whatever their case.

Neither type knows which library did the I/O, so both stay the same whichever does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, ItemsView, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

if TYPE_CHECKING:
    from humanloop.transport import RawResponse

__all__ = ["ApiResponse", "AsyncApiResponse", "AsyncGeneratorResponse", "Headers", "media_type"]

T = TypeVar("T")

SECRET_HEADERS = frozenset(
    {"authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"}
)


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
        """Every value of a field; empty when it is absent."""
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
        """The names and values. (A view as any mapping has, without a lookup for each name.)"""
        return {name: ", ".join(values) for name, values in self._fields.values()}.items()

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        theirs = Headers(cast("Mapping[str, str]", other))
        return {k.lower(): v for k, v in self.items()} == {k.lower(): v for k, v in theirs.items()}

    def __repr__(self) -> str:
        from humanloop.redaction import masked_headers

        return f"Headers({masked_headers(self)})"


def media_type(headers: Mapping[str, str]) -> str:
    """The media type that Content-Type names, in lower case, without parameters."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


@dataclass
class ApiResponse(Generic[T]):
    """The answer to one call.

    headers: case-insensitive; status: 200, 201, 204; response: the answer as it came, with
    `status`, `reason`, `headers` and `data` (bytes); round_trip_time: seconds from sending to the
    last byte; body: the validated schema instance, or `schemas.unset` where the operation has
    none.
    """

    headers: Headers
    status: int
    response: RawResponse
    round_trip_time: float
    body: T


@dataclass
class AsyncGeneratorResponse:
    """What a `*_stream` method returns, as version 0.5 did.

    content: an async generator of `{"output": str, "id": str}`; response: the answer's head.
    """

    content: AsyncGenerator[dict[Literal["output", "id"], str], None]
    headers: Headers
    status: int
    response: Any


AsyncApiResponse = ApiResponse
"""The name that the answer to an asynchronous call had in version 0.5."""
