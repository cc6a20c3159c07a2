"""Log the calls of a client, by the standard library.

The logger `humanloop` has a line for each request, answer, fault and wait; `humanloop.wire` has
their headers and bodies; both log at the level DEBUG. The environment variable `HUMANLOOP_LOG`,
with a level such as `debug` or `info`, prints the log to standard error, from the first call on.

Invariants: importing the package sets neither a level nor a handler; no key is ever in a record.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import TYPE_CHECKING

from humanloop.http import RawResponse, masked_body
from humanloop.secrets import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from humanloop.configuration import Configuration
    from humanloop.exceptions import ApiConnectionError
    from humanloop.http import Request
    from humanloop.transport.base import AsyncRawStream, RawStream

__all__ = ["WireLog"]

SHOWN_CHARACTERS = 10_000
"""The characters of a body that are logged."""

logger = logging.getLogger("humanloop")
wire = logging.getLogger("humanloop.wire")


class WireLog:
    """Logs the calls of one client."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        if level := os.environ.get("HUMANLOOP_LOG"):
            _print_from(level)

    def request(self, request: Request, attempt: int) -> None:
        """Log a request that is about to be sent."""
        if not logger.isEnabledFor(logging.DEBUG):
            return
        again = f" (try {attempt})" if attempt > 1 else ""
        secrets = self._secrets(request)
        url = redact(f"{request.host}{request.path}", secrets)
        logger.debug("%s %s%s", request.method, url, again)
        if wire.isEnabledFor(logging.DEBUG):
            _log_details(">", request.headers, request.body or b"", secrets)

    def response(self, request: Request, answer: RawResponse | RawStream | AsyncRawStream) -> None:
        """Log an answer."""
        if not logger.isEnabledFor(logging.DEBUG):
            return
        secrets = self._secrets(request)
        path = redact(request.path, secrets)
        took = 1000 * answer.elapsed
        logger.debug("%s %s: %d in %.0f ms", request.method, path, answer.status, took)
        if wire.isEnabledFor(logging.DEBUG):
            data = answer.data if isinstance(answer, RawResponse) else b"(a stream)"
            _log_details("<", answer.headers, data, secrets)

    def fault(self, request: Request, error: ApiConnectionError) -> None:
        """Log that no answer came."""
        if logger.isEnabledFor(logging.DEBUG):
            first, *_ = str(error).splitlines()  # a hint is for who reads the error itself
            logger.debug("%s", redact(first, self._secrets(request)))

    def wait(self, request: Request, seconds: float) -> None:
        """Log that the request is tried again, after a wait."""
        if logger.isEnabledFor(logging.DEBUG):
            path = redact(request.path, self._secrets(request))
            logger.debug("%s %s: again in %.2f s", request.method, path, seconds)

    def _secrets(self, request: Request) -> list[str]:
        return request.secrets(self._configuration.secrets)


def _log_details(
    mark: str, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]
) -> None:
    lines = [f"{name}: {redact(v, secrets)}" for name, v in headers.items()]
    if body:
        text = masked_body(body, secrets)
        cut = f"... ({len(text):,} characters)" if len(text) > SHOWN_CHARACTERS else ""
        lines += ["", f"{text[:SHOWN_CHARACTERS]}{cut}"]
    wire.debug("%s", "\n".join(f"  {mark} {line}".rstrip() for line in lines))


@cache
def _print_from(level: str) -> None:
    """Print the log to standard error, once for a process and a level."""
    try:
        logger.setLevel(level.upper())
    except ValueError:
        logger.warning("HUMANLOOP_LOG is %r; it must be a level such as debug or info", level)
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
