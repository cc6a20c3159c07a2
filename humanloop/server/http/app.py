"""The ASGI application: HTTP around the handlers.

The event loop reads requests and writes answers; everything that touches the database or a
provider runs in a thread. What stays true: an answer of success fits the operation's schema, and is
made before its transaction is committed; every error is JSON with a `detail`; no body and no key is
ever logged. Providers have threads of their own, so that slow ones don't hold up other requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, cast

from sqlalchemy.exc import DataError, OperationalError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from humanloop import schemas
from humanloop.apis.operations import OPERATIONS
from humanloop.http import media_type
from humanloop.operation import RETRY_HEADER, Operation
from humanloop.schemas import SchemaValidationError
from humanloop.server.errors import (
    Invalid,
    NotBuilt,
    Problem,
    RequestError,
    RequestTimeout,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
    invalid,
)
from humanloop.server.generation import generations
from humanloop.server.generation.generations import Generation
from humanloop.server.http import guard
from humanloop.server.http.routing import Router, read_query
from humanloop.server.http.streams import EventStream
from humanloop.server.operations.calls import MAX_DIGITS, Call, Json, Settings
from humanloop.server.operations.handlers import HANDLERS, Handler
from humanloop.server.store.accounts import Account, KeyRing
from humanloop.server.store.database import Database

logger = logging.getLogger("humanloop.server")
_MAX_DEPTH = 100
_DRAIN_SECONDS = 1
_GENERATORS = 40  # calls of providers at the same time; the others wait


def create_app(
    database_url: str, api_keys: Sequence[str], settings: Settings | None = None
) -> Starlette:
    """An application on an open database; its lifespan's end closes the database.

    Raises StartError when the database or the keys can't be used.
    """
    database = Database.open(database_url)
    try:
        keys = KeyRing.enroll(database, api_keys)
    except BaseException:
        database.close()
        raise

    api = Api(database, keys, settings or Settings())

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await run_in_threadpool(api.close)

    app = Starlette(lifespan=lifespan)
    # Not a route: what is no path, such as "*" or a whole URL, is answered by the API as well.
    app.router.default = api
    return app


class Upload:
    """The body that is being sent, read at most once; `more` tells whether any of it is left."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.more = True

    async def chunks(self, seconds: float) -> AsyncIterator[bytes]:
        """What is left of it.

        Raises ClientDisconnect when the caller hangs up, and RequestTimeout when the next part
        takes longer than `seconds`.
        """
        while self.more:
            try:
                message = await asyncio.wait_for(self._receive(), seconds)
            except asyncio.TimeoutError:
                raise RequestTimeout(f"No more of the body came for {seconds:g} seconds.") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.more = message.get("more_body", False)
            yield message.get("body", b"")

    async def drain(self, limit: int) -> None:
        """Read on without keeping it, so that a caller in mid-sending gets to read the answer."""
        try:
            async for chunk in self.chunks(_DRAIN_SECONDS):
                limit -= len(chunk)
                if limit < 0:
                    return
        except RequestTimeout:
            return


Answer = Response | EventStream


class Api:
    """Answers every HTTP request."""

    def __init__(self, database: Database, keys: KeyRing, settings: Settings) -> None:
        self._database = database
        self._keys = keys
        self._settings = settings
        self._router = Router(OPERATIONS)
        self._generators = ThreadPoolExecutor(_GENERATORS, "humanloop-provider")
        self._generations: list[Generation] = []  # those of which not all may be kept yet
        self._stopping = threading.Event()

    def close(self) -> None:
        """Wait for what is being generated to be kept, then close the database."""
        self._stopping.set()
        self._generators.shutdown()
        samples = [sample for generation in self._generations for sample in generation.samples]
        if rest := [sample for sample in samples if not sample.kept]:  # their turn never came
            generations.keep(self._database, rest)
        self._database.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        request = Request(scope)
        started = time.perf_counter()
        try:
            name, response = await self._respond(request, Upload(receive))
        except ClientDisconnect:
            return
        milliseconds = (time.perf_counter() - started) * 1000
        logger.info(
            "%s %s: %d in %.1f ms", request.method, name, response.status_code, milliseconds
        )
        await response(scope, receive, send)

    async def _respond(self, request: Request, upload: Upload) -> tuple[str, Answer]:
        """The name of the operation, as far as it is known, and the answer."""
        name = "-"
        try:
            headers = request.headers
            guard.check(headers.get("host"), headers.get("origin"), self._settings.allowed_hosts)
            account = self._keys.account(headers.get("x-api-key"))
            operation, path = self._router.find(request.method, _raw_path(request))
            name = operation.name
            handler = _handler(operation)
            body = await self._read_body(request, upload)
            query = request.scope["query_string"].decode("latin-1")
            retries = headers.get(RETRY_HEADER, "0")
            repeated = retries.isdecimal() and retries != "0"
            outcome = await run_in_threadpool(
                self._run, operation, handler, account, path, query, body, repeated
            )
            if isinstance(outcome, Generation):
                return name, await self._generate(operation, outcome)
            return name, outcome
        except ClientDisconnect:
            raise
        except Exception as error:
            await upload.drain(self._settings.max_body_bytes)
            ending = {"Connection": "close"} if upload.more else {}
            problem = _problem(name, error)
            return name, _json(problem.body(), problem.status, {**problem.headers, **ending})

    async def _generate(self, operation: Operation, generation: Generation) -> Answer:
        """Ask the providers, outside of any transaction."""
        schema = operation.response_schema
        assert schema is not None, "what generates answers with what it generated"
        under_way = [g for g in self._generations if not all(sample.kept for sample in g.samples)]
        self._generations = [*under_way, generation]
        if generation.stream:
            events = generations.events(self._database, generation, schema)
            stream = EventStream(
                events, self._generators, lambda error: _problem(operation.name, error).body()
            )
            await stream.begin()
            return stream
        text = await asyncio.get_running_loop().run_in_executor(
            self._generators, generations.run, self._database, generation, schema, self._stopping
        )
        return Response(text, operation.status, media_type="application/json")

    async def _read_body(self, request: Request, upload: Upload) -> bytes:
        """The body, when it is JSON and not too large."""
        limit = self._settings.max_body_bytes
        body = bytearray()
        async for chunk in upload.chunks(self._settings.body_seconds):
            body += chunk
            if len(body) > limit:
                raise TooLarge(f"The body is over {limit:,} bytes.")
        if body and media_type(request.headers) != "application/json":
            raise UnsupportedMediaType("The body must be of the type application/json.")
        return bytes(body)

    def _run(
        self,
        operation: Operation,
        handler: Handler,
        account: Account,
        path: dict[str, str],
        query: str,
        body: bytes,
        repeated: bool,
    ) -> Response | Generation:
        """What happens in a thread: check, run in one transaction, make the answer in it, too.

        Of what generates it is only the beginning.
        """
        parameters = read_query(operation, path, query)
        parsed = _parse(operation, body)
        transaction = self._database.read if handler.only_reads else self._database.write
        with transaction() as session:
            call = Call(session, account, self._settings, path, parameters, parsed, repeated)
            result = handler.run(call)
            return result if isinstance(result, Generation) else _success(operation, result)


def _raw_path(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")


def _handler(operation: Operation) -> Handler:
    handler = HANDLERS.get(operation.name)
    if handler is None:
        raise NotBuilt(f"{operation.name} is not built into the embedded server yet.")
    return handler


def _parse(operation: Operation, body: bytes) -> Any:
    """The body as plain data that fits the operation's schema, without provider keys."""
    if operation.body_schema is None:
        return None
    if not body:
        raise invalid(("body",), "a JSON body is needed, none came", "required")
    value = _decode(body)
    if isinstance(value, dict) and not operation.provider_keys:
        # Clients of the 0.5 line send it everywhere.
        cast(dict[str, Any], value).pop("provider_api_keys", None)
    try:
        operation.body_schema.validate(value, "request")
    except SchemaValidationError as error:
        raise Invalid(
            [
                Problem(("body", *detail.path), detail.message, detail.keyword)
                for detail in error.errors
            ]
        ) from error
    return cast(Any, value)


def _decode(body: bytes) -> Any:
    """The body's JSON value; what is kept must be readable again by any client."""
    try:
        value = schemas.loads(body.decode("utf-8-sig"))  # RFC 8259, section 8.1
    except ValueError as error:
        raise invalid(("body",), f"the body is not JSON: {error}", "json") from error
    if _is_deep(value):
        message = f"the body is nested over {_MAX_DEPTH} levels deep"
        raise invalid(("body",), message, "depth")
    try:
        json.dumps(value, ensure_ascii=False, default=_check_number).encode()
    except UnicodeEncodeError:
        raise invalid(("body",), "the body holds half of a surrogate pair", "json") from None
    return value


def _check_number(number: Decimal) -> None:
    # Only an integer that int() refuses to parse is read as a Decimal without an exponent.
    if not number.as_tuple().exponent:
        raise invalid(("body",), f"the body holds an integer of over {MAX_DIGITS:,} digits", "json")


def _is_deep(value: Json) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [child for each in level for child in _containers(each)]
        if not level:
            return False
    return True


def _containers(value: Json) -> list[Json]:
    """The objects and arrays right inside of an object or an array."""
    inside: Iterable[Json] = ()
    if isinstance(value, dict):
        inside = value.values()
    elif isinstance(value, list):
        inside = value
    return [each for each in inside if isinstance(each, (dict, list))]


def _problem(name: str, error: Exception) -> RequestError:
    """What the caller is told about an error; the log is told what the caller can't know."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, DataError):
        # PostgreSQL keeps no U+0000.
        return invalid(("body",), "the body holds text that the database can't keep")
    if isinstance(error, OperationalError):
        logger.error("%s: the database failed", name, exc_info=error)
        return Unavailable("The database can't be used right now.")
    logger.error("%s: internal error", name, exc_info=error)
    return RequestError("internal error: see the server's log")


def _success(operation: Operation, result: Any) -> Response:
    schema = operation.response_schema
    if schema is None:
        return Response(status_code=operation.status)
    return Response(schema(result).to_json(), operation.status, media_type="application/json")


def _json(body: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(schemas.to_json(body), status, headers, media_type="application/json")
