"""The embedded server: the Humanloop API, version 4, on SQLite or PostgreSQL.

It needs the extra `server`; nothing in the client imports it. Choices made where the hosted service
was not documented are listed in docs/embedded-server.md.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from humanloop.extras import how_to_install
from humanloop.lazy import lazy_names

if TYPE_CHECKING:
    from humanloop.server.errors import StartError
    from humanloop.server.generation.egress import ProviderLimits
    from humanloop.server.generation.providers import (
        Cancellation,
        Cancelled,
        Ending,
        Provider,
        ProviderError,
        ProviderRequest,
    )
    from humanloop.server.http.app import create_app
    from humanloop.server.http.embedded import EmbeddedServer
    from humanloop.server.operations.calls import Settings
    from humanloop.server.store.settings import DatabaseSettings

__all__ = [
    "Cancellation",
    "Cancelled",
    "DatabaseSettings",
    "EmbeddedServer",
    "Ending",
    "Provider",
    "ProviderError",
    "ProviderLimits",
    "ProviderRequest",
    "Settings",
    "StartError",
    "create_app",
]

for _package in ("alembic", "sqlalchemy", "starlette", "uvicorn"):
    if find_spec(_package) is None:
        raise ImportError(
            f"the embedded server needs the package {_package!r}, which is not installed;"
            f" {how_to_install('server')}",
            name=_package,
        )

# Public names are imported when they are first used (PEP 562): commands that only read a database
# start in half the time.
if not TYPE_CHECKING:  # a type checker would take any name for granted
    _HOMES = {
        "Cancellation": "generation.providers",
        "Cancelled": "generation.providers",
        "DatabaseSettings": "store.settings",
        "EmbeddedServer": "http.embedded",
        "Ending": "generation.providers",
        "Provider": "generation.providers",
        "ProviderError": "generation.providers",
        "ProviderLimits": "generation.egress",
        "ProviderRequest": "generation.providers",
        "Settings": "operations.calls",
        "StartError": "errors",
        "create_app": "http.app",
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
