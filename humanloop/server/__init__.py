"""The embedded server: the Humanloop API, version 4, on SQLite or PostgreSQL.

It needs the extra `server`; nothing in the client imports it. Choices made where the hosted service
was not documented are listed in docs/embedded-server.md.
"""

from __future__ import annotations

from humanloop.extras import how_to_install

try:
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
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {
        "alembic",
        "sqlalchemy",
        "starlette",
        "uvicorn",
    }:
        raise
    raise ImportError(
        f"the embedded server needs the package {error.name!r}, which is not installed;"
        f" {how_to_install('server')}",
        name=error.name,
    ) from error

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
