"""The I/O. `Urllib3Transport` and `AiohttpTransport` are what a client uses by default.

Invariants: nothing outside this package knows which HTTP library is in use; the library is loaded
with the first request and no sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanloop.http import RawResponse, Request, is_event_stream
from humanloop.lazy import lazy_names
from humanloop.transport.base import AsyncRawStream, AsyncTransport, RawStream, Transport

if TYPE_CHECKING:
    from humanloop.transport.aiohttp_transport import AiohttpTransport
    from humanloop.transport.urllib3_transport import Urllib3Transport

__all__ = [
    "AiohttpTransport",
    "AsyncRawStream",
    "AsyncTransport",
    "RawResponse",
    "RawStream",
    "Request",
    "Transport",
    "Urllib3Transport",
    "is_event_stream",
]


if not TYPE_CHECKING:  # a type checker would take any name for granted
    _HOMES = {"AiohttpTransport": "aiohttp_transport", "Urllib3Transport": "urllib3_transport"}
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
