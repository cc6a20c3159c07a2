"""Tracing: what functions and the clients of model providers do becomes logs.

`client.traced` decorates a function, `client.session` groups what is logged within it, and
`humanloop.wrap` logs what the client of a provider asks and is answered. Logs are written by
`client.log_later`, so nobody waits for the server.

Invariants: nothing that goes wrong here reaches the code that is traced: it is counted in
`client.tracer.failures`, and the first one of a client is warned about. What a traced function
returns, yields or raises is what it would without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanloop.lazy import lazy_names

if TYPE_CHECKING:
    from humanloop.tracing.spans import Session
    from humanloop.tracing.tracer import Tracer
    from humanloop.tracing.wrapping import wrap

__all__ = ["Session", "Tracer", "wrap"]

if not TYPE_CHECKING:  # a type checker would take any name for granted
    _HOMES = {"Session": "spans", "Tracer": "tracer", "wrap": "wrapping"}
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
