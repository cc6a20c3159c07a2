"""Answers that need no key: the server's health, and the API's document.

Anybody who reaches the port can ask, so both must be cheap, however often they are requested.
"""

from __future__ import annotations

import asyncio
import json
import time
from functools import cache
from importlib.resources import files

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from humanloop import __version__, schemas
from humanloop.server.errors import MethodNotAllowed, Unavailable
from humanloop.server.http.routing import PREFIX
from humanloop.server.store.database import Database
from humanloop.server.store.failures import Failure, failure
from humanloop.server.store.tables import Organization

HEALTH = "/health"
DOCUMENT = f"{PREFIX}/openapi.json"
_METHODS = ("GET", "HEAD")
_CHECK_SECONDS = 1  # how long an answer is reused
_PATIENCE = 5  # seconds in which a healthy database answers
_JSON = "application/json"


class Public:
    """The handler of paths that need no key."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._check: asyncio.Task[Failure | None] | None = None
        self._checked = 0.0

    async def answer(self, request: Request, path: str, *, damaged: bool) -> Response | None:
        """Return the answer for such a path; None for all other paths.

        damaged: the database is known to be damaged.

        Raises MethodNotAllowed, and Unavailable if the database can't be read.
        """
        if path not in {HEALTH, DOCUMENT}:
            return None
        if request.method not in _METHODS:
            raise MethodNotAllowed(request.method, _METHODS)
        if path == DOCUMENT:
            host = request.headers.get("host")
            root = "" if host is None else f"{request.url.scheme}://{host}"
            return Response(_document().replace(_HERE, f"{root}{PREFIX}"), media_type=_JSON)
        failed = Failure.DAMAGED if damaged else await self._failure()
        if failed is not None:
            raise Unwell(failed)
        return Response(
            schemas.to_json({"status": "ok", "version": __version__}),
            headers={"Cache-Control": "no-store"},
            media_type=_JSON,
        )

    async def _failure(self) -> Failure | None:
        """Return the database's failure, found now or a moment ago; None if it is well."""
        check = self._check
        if check is None or (check.done() and time.monotonic() - self._checked > _CHECK_SECONDS):
            self._checked = time.monotonic()
            check = self._check = asyncio.create_task(run_in_threadpool(self._read))
        done, _ = await asyncio.wait({check}, timeout=_PATIENCE)
        return check.result() if done else Failure.UNUSABLE

    def _read(self) -> Failure | None:
        try:
            with self._database.read() as session:
                session.execute(select(Organization.id).limit(1)).one()
        except SQLAlchemyError as error:
            return failure(error) or Failure.UNUSABLE
        return None


class Unwell(Unavailable):
    """The server can't do its work."""

    def __init__(self, failed: Failure) -> None:
        super().__init__(failed.value)
        self._status = failed.name.lower()

    def body(self) -> dict[str, object]:
        """Return the answer's JSON body."""
        return {"status": self._status, "version": __version__, "detail": self.detail}


_HERE = "https://this.invalid"


@cache
def _document() -> str:
    """Return the document's text, with _HERE in place of the server's address."""
    document = json.loads((files("humanloop.server.http") / "openapi.json").read_text("utf-8"))
    document["servers"] = [{"url": _HERE, "description": "This server"}]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
