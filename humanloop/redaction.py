"""What may be shown of a request or an answer: everything but its keys.

What stays true: a value that authenticates is replaced by `***` before anything is put together
from it, wherever it stands: in a header, under a name that tells in a JSON body, or in a text.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from humanloop.api_response import SECRET_HEADERS

if TYPE_CHECKING:
    from humanloop.transport import Request

__all__ = ["MASK", "as_curl", "masked_body", "masked_headers", "without"]

MASK = "***"
SHORTEST_SECRET = 8
"""Characters; what is shorter may be a word like any other, and stays."""

_TELLING = re.compile(
    r"(api|access|secret|private)[-_]?key|authorization|password|passwd|secret|(access|auth)[-_]?token",
    re.IGNORECASE,
)


def masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, without the values that authenticate."""
    return {k: MASK if k.lower() in SECRET_HEADERS else v for k, v in headers.items()}


def masked_body(data: bytes, secrets: Iterable[str] = ()) -> str:
    """A body as text: JSON without the values under telling names; in any, without `secrets`."""
    text = data.decode("utf-8", "replace")
    if _TELLING.search(text):
        from humanloop import schemas  # its JSON keeps numbers as they were written

        with contextlib.suppress(ValueError):  # in no JSON, only what is known can be told
            text = schemas.to_json(_masked(schemas.loads(text)))
    return without(text, secrets)


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` with stars in place of each secret that is longer than a word."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, MASK).replace(json.dumps(secret)[1:-1], MASK)
    return text


def _masked(value: object) -> Any:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {k: _hidden(v) if _TELLING.search(k) else _masked(v) for k, v in members}
    if isinstance(value, list):
        return [_masked(item) for item in cast("list[object]", value)]
    return value


def _hidden(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_hidden(item) for item in cast("list[object]", value)]
    return value if value is None or isinstance(value, bool) else MASK


def secrets_of(headers: Mapping[str, str]) -> list[str]:
    """The values of the headers that authenticate."""
    return [value for name, value in headers.items() if name.lower() in SECRET_HEADERS]


def as_curl(request: Request) -> str:
    """A request as a command for curl, with `***` in place of every key."""
    secrets = secrets_of(request.headers)
    parts = ["curl", "--request", request.method, without(request.url, secrets)]
    for name, value in masked_headers(request.headers).items():
        parts += ["--header", f"{name}: {without(value, secrets)}"]
    if request.body is not None:
        parts += ["--data-raw", masked_body(request.body, secrets)]
    return " ".join(map(shlex.quote, parts))
