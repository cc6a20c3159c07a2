"""The result of a call: `ApiResponse`, the same whichever library did the I/O."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from humanloop.display import PRETTY_LIMIT, TEXT_LIMIT, Tree, short_tree
from humanloop.http import Headers, RawResponse
from humanloop.secrets import did_you_mean, masked_start, shorten

__all__ = ["ApiResponse", "AsyncApiResponse", "AsyncGeneratorResponse", "Headers"]

T = TypeVar("T")

_ELSEWHERE = {
    "content": "response.data",
    "data": "body",
    "elapsed": "round_trip_time",
    "json": "body",
    "reason": "response.reason",
    "result": "body",
    "status_code": "status",
    "text": "response.text",
}
"""Names in responses of other libraries, and where their values are here."""


@dataclass(repr=False)
class ApiResponse(Generic[T]):
    """The answer to one call.

    headers: case-insensitive; status: 200, 201, 204; response: the answer as it came, with
    `status`, `reason`, `headers` and `data` (bytes); round_trip_time: seconds from sending to the
    last byte; body: the validated schema instance, or, with `bodies="plain"`, the same in plain
    dict, list, str, int, float, bool and None; `schemas.unset` where the operation has none.
    """

    headers: Headers
    status: int
    response: RawResponse
    round_trip_time: float
    body: T

    if not TYPE_CHECKING:
        # At run time alone: a type checker reports all of these by itself.

        def __getattr__(self, name):
            error = AttributeError(f"an ApiResponse has no {name!r}{_hint(self, name)}")
            error.name = name  # with it, Python adds no suggestion of its own to the message
            raise error

        def __getitem__(self, key):
            shown = shorten(masked_start(repr(key)))
            raise TypeError(
                "an ApiResponse has no items: its body has, "
                f"as in `response.body[{shown}]` or `for item in response.body`"
            )

        def __len__(self):
            raise TypeError("an ApiResponse has no length: use `len(response.body)`")

        def __bool__(self):
            return True  # else Python asks for the length

    def _shown(self, limit: int) -> Tree:
        parts: list[tuple[str, Tree | str]] = [
            ("status=", f"{self.status}"),
            ("body=", short_tree(self.body, limit)),
            ("headers=", f"<{len(self.headers)} headers>"),
            ("round_trip_time=", f"{self.round_trip_time:.4g}"),
        ]
        return Tree("ApiResponse(", parts, ")")

    def __repr__(self) -> str:
        return str(self._shown(TEXT_LIMIT))

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        """Return the arguments to show, for rich."""
        yield "status", self.status
        yield "body", self.body
        yield "round_trip_time", self.round_trip_time

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print this in IPython."""
        self._shown(TEXT_LIMIT if len(printer.stack) > 1 else PRETTY_LIMIT).print_to(printer)

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        from humanloop.notebook import html_of

        return html_of(self.body, f"ApiResponse, status {self.status}")


def _hint(response: ApiResponse[Any], name: str) -> str:
    """Return how the message on a missing attribute goes on: with where its value is."""
    body = response.__dict__.get("body")
    if name.startswith("_"):
        return ""
    if hasattr(body, name):
        return f": use `response.body.{name}`"
    if isinstance(body, Mapping) and name in body:
        return f": use `response.body[{name!r}]`"
    if name in _ELSEWHERE:
        return f": use `response.{_ELSEWHERE[name]}`"
    return did_you_mean(name, response.__dict__)


@dataclass
class AsyncGeneratorResponse:
    """The result of a `*_stream` method, as in version 0.5.

    content: an async generator of `{"output": str, "id": str}`; response: the answer's head.
    """

    content: AsyncGenerator[dict[Literal["output", "id"], str], None]
    headers: Headers
    status: int
    response: Any


AsyncApiResponse = ApiResponse
"""The name that the answer to an asynchronous call had in version 0.5."""
