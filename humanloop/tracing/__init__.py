"""Tracing: logs of function calls and of calls to model providers.

`client.traced` decorates a function, `client.session` groups the logs of a block, and
`humanloop.wrap` logs the requests of a provider's client and the answers. Logs are written by
`client.log_later`, so the program never waits for the server.

Invariants: an error of tracing never reaches the traced code: it is counted in
`client.tracer.failures`, and the first one of a client gives a warning. A traced function returns,
yields and raises the same as without tracing.
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
