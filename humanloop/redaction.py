"""What may be shown of a request or an answer: everything but its keys.

What stays true: a value that authenticates is replaced by `***` before anything is cut or put
together from it, wherever it stands: in a header, under a name that tells in a JSON body, or in a
text. What authenticates is what the configuration and the request hold as such, so that an answer
may repeat it and shows nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from humanloop.api_response import SECRET_HEADERS

if TYPE_CHECKING:
    from humanloop.transport import Request

__all__ = [
    "MASK",
    "as_curl",
    "masked_body",
    "masked_headers",
    "redact_error",
    "secrets_of",
    "without",
]

MASK = "***"
SHORTEST_SECRET = 8
"""Characters; what is shorter may be a word like any other, and stays."""

_TELLING = re.compile(
    r"(api|access|secret|private)[-_]?key|authorization|password|passwd|secret|(access|auth)[-_]?token",
    re.IGNORECASE,
)
_TELLING_BYTES = re.compile(_TELLING.pattern.encode(), re.IGNORECASE)
_HINTS = (b"key", b"auth", b"passw", b"secret", b"token")  # one is in each of those names
_PARTS = re.compile(r"[^\s;,=]+")  # such as what follows "Bearer ", or the values of a cookie


def masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, without the values that authenticate."""
    return {k: MASK if _is_secret(k) else v for k, v in headers.items()}


def masked_body(data: bytes, secrets: Iterable[str] = ()) -> str:
    """A body as text: JSON without the values under telling names; in any, without `secrets`."""
    text = data.decode("utf-8", "replace")
    if _may_tell(data):
        from humanloop import schemas  # its JSON keeps numbers as they were written

        try:
            text = schemas.to_json(_masked(schemas.loads(text)))
        except (ValueError, RecursionError):
            if text.lstrip()[:1] in ("{", "["):  # where the values end can't be told
                return f"({len(data):,} bytes that can't be read, and may hold keys)"
    return without(text, secrets)


def without(text: str, secrets: Iterable[str], mask: str = MASK) -> str:
    """`text` with a mask in place of each secret that is longer than a word."""
    long = (secret for secret in secrets if len(secret) >= SHORTEST_SECRET)
    forms = {form for secret in long for form in _forms(secret)}
    # The longest first, since one may be the beginning of another.
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= SHORTEST_SECRET:
            text = text.replace(form, mask)
    return text


def _forms(secret: str) -> tuple[str, ...]:
    """How a secret may be written: as it is, and as JSON, an address or Python has it."""
    texts = (secret, secret.strip(), json.dumps(secret)[1:-1], repr(secret)[1:-1])
    return (*texts, quote(secret, safe=""), quote(secret))


def redact_error(error: BaseException, redact: Callable[[str], str]) -> None:
    """Redact what `error` says, and what its causes say: a traceback shows them all.

    Those that it merely came after may be the caller's own: they stay as they are, and are left
    out where they tell.
    """
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, BaseException) and id(inner) not in seen:
            seen.add(id(inner))
            waiting += [inner.__cause__, *inner.args]
            if _tells(inner.__context__, redact):
                inner.__suppress_context__ = True
            args = tuple(redact(a) if isinstance(a, str) else a for a in inner.args)
            if args != inner.args:
                inner.args = args
            for name, value in vars(inner).items():
                if isinstance(value, str) and redact(value) != value:
                    with contextlib.suppress(AttributeError, TypeError):
                        setattr(inner, name, redact(value))


def _tells(error: BaseException | None, redact: Callable[[str], str]) -> bool:
    """Whether there is something to redact in an error, or in what it came after or from."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        inner = waiting.pop()
        if inner is not None and id(inner) not in seen:
            seen.add(id(inner))
            waiting += [inner.__cause__, inner.__context__]
            text = str(inner)
            if redact(text) != text:
                return True
    return False


def _is_secret(header: str) -> bool:
    return header.lower() in SECRET_HEADERS or _TELLING.search(header) is not None


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


def secrets_of(request: Request, configured: Iterable[str] = ()) -> list[str]:
    """What authenticates in a request: in its headers, and under telling names in its body.

    configured: what is known to be secret besides.
    """
    found = list(configured)
    for name, value in request.headers.items():
        if _is_secret(name):
            found += [value, *_PARTS.findall(value)]
    if request.body and _may_tell(request.body):
        with contextlib.suppress(ValueError, RecursionError):
            found += _told(json.loads(request.body))
    return found


def _may_tell(data: bytes) -> bool:
    """Whether a name in a body may tell that its value is secret."""
    words = data.lower()  # to look for words takes less than to look for a pattern
    return any(word in words for word in _HINTS) and bool(_TELLING_BYTES.search(data))


def _told(value: object, *, secret: bool = False) -> Iterator[str]:
    """The texts under telling names."""
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield from _told(item, secret=secret or _TELLING.search(name) is not None)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _told(item, secret=secret)
    elif secret and isinstance(value, str):
        yield value


def as_curl(request: Request) -> str:
    """A request as a command for curl, with `***` in place of every key."""
    secrets = secrets_of(request)
    parts = ["curl", "--request", request.method, without(request.url, secrets)]
    for name, value in masked_headers(request.headers).items():
        parts += ["--header", f"{name}: {without(value, secrets)}"]
    if request.body is not None:
        parts += ["--data-raw", masked_body(request.body, secrets)]
    return " ".join(map(shlex.quote, parts))
