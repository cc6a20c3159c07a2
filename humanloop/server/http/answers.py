"""Successful answers: JSON that fits the operation's schema, of any size.

Invariants: only a portion of a list is in memory at a time, and no part of a large answer while it
is sent, so that neither many records nor a slow reader takes much memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from humanloop import schemas
from humanloop.operation import Operation
from humanloop.server.operations.calls import Listed

_IN_MEMORY = 1024 * 1024  # bytes of an answer; a larger one goes to a file
_CHUNK = 256 * 1024
_JSON = "application/json"


class LargeAnswer:
    """An answer whose body is in a temporary file, which is deleted once it is sent."""

    def __init__(self, status_code: int, texts: Iterable[str]) -> None:
        self.status_code = status_code
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            for text in texts:
                for start in range(0, len(text), _CHUNK):
                    self._file.write(text[start : start + _CHUNK].encode())
        except BaseException:
            self._file.close()
            raise

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer over ASGI, no faster than the reader takes it."""
        with self._file as file:
            left = file.tell()
            headers = [
                (b"content-type", _JSON.encode()),
                (b"content-length", b"%d" % left),
            ]
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": headers}
            )
            file.seek(0)
            while left:
                chunk = await run_in_threadpool(file.read, _CHUNK)
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})


def success(operation: Operation, result: Any) -> Response | LargeAnswer:
    """Return the answer for a handler's result."""
    schema = operation.response_schema
    if schema is None:
        return Response(status_code=operation.status)
    if isinstance(result, Listed):
        return of_texts(operation.status, _list_texts(schema, result))
    return of_texts(operation.status, [schema(result).to_json()])


def of_texts(status: int, texts: Iterable[str]) -> Response | LargeAnswer:
    """Return the answer whose JSON is the concatenation of the texts."""
    texts, held, size = iter(texts), list[str](), 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size > _IN_MEMORY:
            return LargeAnswer(status, _chained(held, texts))
    return Response("".join(held), status, media_type=_JSON)


def _chained(held: list[str], rest: Iterator[str]) -> Iterator[str]:
    while held:
        yield held.pop(0)  # `pop`, so that it is freed once written
    yield from rest


def _list_texts(schema: type[schemas.Schema], listed: Listed) -> Iterator[str]:
    """Yield the JSON of an array or a page in parts, each checked against the schema."""

    def text(records: list[dict[str, Any]]) -> str:
        return schema(listed.body(records)).to_json()

    head, tail = text([]).split("[]")
    yield f"{head}["
    separator = ""
    for portion in listed.portions:
        if portion:
            yield separator + text(portion)[len(head) + 1 : -len(tail) - 1]
            separator = ","
    yield f"]{tail}"
