"""The ASGI application: HTTP around the handlers.

The event loop reads requests and writes answers; all work with the database or a provider runs in
threads. Invariants: a successful answer fits the operation's schema, and is made before its
transaction is committed; every error is JSON with a `detail`; no body and no key is ever logged.
Providers have threads of their own, so that slow ones don't hold up other requests.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.exc import DataError, DBAPIError, StatementError
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from humanloop import schemas
from humanloop.operation import REFERENCE_HEADER, RETRY_HEADER, Operation
from humanloop.server.errors import (
    BadRequest,
    Busy,
    RequestError,
    StartError,
    Unauthorized,
    Unavailable,
    invalid,
)
from humanloop.server.evaluation.engine import Engine, EngineUnavailable
from humanloop.server.evaluation.engines import open_engine
from humanloop.server.generation import generations
from humanloop.server.generation.generations import Generation
from humanloop.server.http import answers, guard
from humanloop.server.http.answers import LargeAnswer
from humanloop.server.http.body import SMALL, Upload, check_encoding, check_samples, parse, weigh
from humanloop.server.http.guesses import Guesses
from humanloop.server.http.memory import Memory
from humanloop.server.http.places import long_key
from humanloop.server.http.public import HEALTH, Public
from humanloop.server.http.routing import find_operation, read_query
from humanloop.server.http.streams import EventStream
from humanloop.server.operations.anchors import Anchors
from humanloop.server.operations.calls import Afterwards, Call, NeedsWriter, Settings, Stage, Stages
from humanloop.server.operations.evaluating import Evaluating
from humanloop.server.operations.evaluation_workers import Workers
from humanloop.server.operations.handlers import HANDLERS, Handler
from humanloop.server.seldom import Seldom
from humanloop.server.store.accounts import Account, KeyRing
from humanloop.server.store.database import Database
from humanloop.server.store.failures import Failure, OutcomeUnknown, failure
from humanloop.server.store.json_text import TooDeep
from humanloop.server.store.key_text import KeyTooLong
from humanloop.server.store.retention import Pruner

T = TypeVar("T")
logger = logging.getLogger("humanloop.server")
_PAGE_BYTES = 16 * 1024 * 1024  # approximate memory of a portion of a page while its JSON is made
_PARSED_AT_ONCE = 8192  # bytes of a body that is parsed without a thread
_GENERATORS = 40  # concurrent calls of providers; the others wait
_CHECKERS = 4  # concurrent slow checks; the others wait


def create_app(
    database_url: str, api_keys: Sequence[str], settings: Settings | None = None
) -> Starlette:
    """Return an application on an open database; its lifespan's end closes the database.

    Raises StartError if the database, the keys or the sandbox can't be used.
    """
    settings = settings or Settings()
    database = Database.open(database_url, settings.database)
    try:
        keys = KeyRing.enroll(database, api_keys)
        engine = _open_engine(settings)
    except (DBAPIError, OutcomeUnknown) as error:
        database.close()
        raise StartError(f"The database can't be used: {database.said(error)}") from error
    except BaseException:
        database.close()
        raise

    application = Application(database, keys, settings, engine)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        try:
            await run_in_threadpool(application.start)
            yield
        finally:
            await run_in_threadpool(application.close)

    app = Starlette(lifespan=lifespan)
    # Not a route, so that the API also answers requests whose target is no path, such as "*" or a
    # whole URL.
    app.router.default = application
    return app


Success = Response | LargeAnswer
Answer = Success | EventStream
Outcome = Success | Generation | Stages | Afterwards


class Application:
    """The ASGI application, which answers every HTTP request."""

    def __init__(
        self, database: Database, keys: KeyRing, settings: Settings, engine: Engine
    ) -> None:
        self._database = database
        self._keys = keys
        self._settings = settings
        self._damaged = False  # an error has shown damage of the database
        self._public = Public(database)
        self._seldom = Seldom()
        # A body's bytes are in memory while it waits for its turn, so uploads and work are counted
        # separately; and reading requests never wait for writing ones.
        self._uploads = Memory(settings.memory_bytes // 4, settings.queue_seconds)
        self._work = Memory(settings.memory_bytes, settings.queue_seconds)
        self._pages = Memory(settings.memory_bytes // 4, settings.queue_seconds)
        self._guesses = Guesses(settings.guess_seconds)
        self._generators = ThreadPoolExecutor(_GENERATORS, "humanloop-provider")
        self._generations: list[Generation] = []  # those that may not be kept completely yet
        self._stopping = threading.Event()
        self._anchors = Anchors()
        self._evaluating = Evaluating(engine)
        self._workers = Workers(database, settings, self._evaluating, keys.organization_id)
        self._checkers = ThreadPoolExecutor(_CHECKERS, "humanloop-check")
        keep = settings.keep_logs
        self._pruner = None if keep is None else Pruner(database, keep)

    def start(self) -> None:
        """Start the work on evaluations."""
        self._workers.start()

    def close(self) -> None:
        """Wait for evaluators and for running generations to be kept; close the database.

        A failing step is logged and does not prevent the others.
        """
        self._stopping.set()
        for generation in self._generations:
            generation.cancellation.cancel()
        steps: list[tuple[str, Callable[[], None]]] = [
            ("evaluations can't be handed over to other servers at once", self._workers.stop),
            ("the sandbox can't be closed", self._evaluating.engine.close),
            ("checks of evaluators can't be ended", self._checkers.shutdown),
            ("calls of providers can't be ended", self._generators.shutdown),
            ("the last generated outputs can't be stored", self._keep_rest),
            ("the database can't be closed", self._database.close),
        ]
        if self._pruner is not None:
            steps.insert(0, ("the deletion of old logs can't be ended", self._pruner.close))
        for what_fails, step in steps:
            try:
                step()
            except Exception as error:
                failed = failure(error)
                if failed is None:
                    logger.exception("stopping: %s", what_fails)
                else:
                    said = self._database.said(error)
                    text = "stopping: %s: %s The database reported: %s"
                    logger.error(text, what_fails, failed.value, said)

    def _keep_rest(self) -> None:
        """Keep the output of generations that ended without keeping it."""
        samples = [sample for generation in self._generations for sample in generation.samples]
        if rest := [sample for sample in samples if not sample.kept]:
            generations.keep(self._database, rest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request over ASGI."""
        request = Request(scope)
        started = time.perf_counter()
        with ExitStack() as memory:
            take = partial(self._uploads.take, until=memory)
            upload = Upload(receive, request.headers.get("content-length"), take)
            try:
                name, response = await self._respond(request, receive, upload, memory)
            except ClientDisconnect:
                return
            except asyncio.CancelledError:
                # The server is stopping, and the time for which it waits for requests is over.
                stopped = Unavailable("The server stopped before this was done.")
                name, response = "-", _json(stopped.body(), stopped.status)
        if not (name == HEALTH and response.status_code == 200):  # too frequent to log
            milliseconds = (time.perf_counter() - started) * 1000
            status = response.status_code
            logger.info("%s %s: %d in %.1f ms", request.method, name, status, milliseconds)
        with suppress(asyncio.CancelledError):
            await response(scope, receive, send)

    async def _respond(
        self, request: Request, receive: Receive, upload: Upload, memory: ExitStack
    ) -> tuple[str, Answer]:
        """Return the name of the operation, as far as it is known, and the answer.

        memory: releases the request's memory when it closes.
        """
        name = "-"
        try:
            headers = request.headers
            guard.check(request, self._settings.allowed_hosts)
            raw_path = _raw_path(request)
            public = await self._public.answer(request, raw_path, damaged=self._damaged)
            if public is not None:
                return raw_path, public
            account = await self._account(request)
            operation, path = find_operation(request.method, raw_path)
            name = operation.name
            handler = HANDLERS[operation.name]
            if not handler.only_reads:
                self._check_writable()
            limits = self._settings
            body = await upload.read(
                limits.max_body_bytes, limits.body_seconds, limits.upload_seconds
            )
            if body:
                check_encoding(headers)
            if len(body) > SMALL:
                size = await run_in_threadpool(weigh, body, limits.max_body_values)
                await self._work.take(size, memory)
            if handler.large_pages:
                await self._pages.take(_PAGE_BYTES, memory)
            retries = headers.get(RETRY_HEADER, "0")
            inner = _Request(
                operation,
                handler,
                account,
                self._settings,
                self._anchors,
                self._evaluating,
                path,
                query=request.scope["query_string"].decode("latin-1"),
                body=body,
                repeated=retries.isdecimal() and retries != "0",
                by_reference=headers.get(REFERENCE_HEADER) == "reference_id",
            )
            try:
                outcome = await self._run(inner)
            except StatementError as error:
                inner.explain(error)
                raise
            if isinstance(outcome, Generation):
                return name, await self._generate(operation, outcome, receive)
            return name, outcome
        except ClientDisconnect:
            raise
        except Exception as error:
            await upload.drain(self._settings.max_body_bytes)
            closes = upload.more or isinstance(error, BadRequest)
            ending = {"Connection": "close"} if closes else {}
            problem = self._problem(name, error)
            return name, _json(problem.body(), problem.status, {**problem.headers, **ending})

    async def _account(self, request: Request) -> Account:
        """Return the account of the request's key.

        Raises Unauthorized, after a delay that grows with the number of wrong keys.
        """
        key = request.headers.get("x-api-key")
        try:
            return self._keys.account(key)
        except Unauthorized as error:
            if request.client is None:
                raise
            if key is not None:
                await asyncio.sleep(self._guesses.delay(request.client.host))
            if self._settings.key_place and guard.is_loopback(request.client.host):
                raise Unauthorized(f"{error.detail} {self._settings.key_place}") from None
            raise

    async def _generate(
        self, operation: Operation, generation: Generation, receive: Receive
    ) -> Answer:
        """Ask the providers, outside of any transaction."""
        schema = operation.response_schema
        assert schema is not None, "a generating operation has a response schema"
        under_way = [g for g in self._generations if not all(sample.kept for sample in g.samples)]
        self._generations = [*under_way, generation]
        if self._stopping.is_set():
            generation.cancellation.cancel()
        if generation.stream:
            stream = EventStream(
                generations.events(self._database, generation, schema),
                self._generators,
                lambda error: self._problem(operation.name, error).body(),
                generation.cancellation.cancel,
            )
            await stream.begin(receive)
            return stream
        text = await asyncio.get_running_loop().run_in_executor(
            self._generators, generations.run, self._database, generation, schema
        )
        return answers.of_texts(operation.status, [text])

    def _check_writable(self) -> None:
        if self._damaged:
            raise Unavailable(Failure.DAMAGED.value)

    def _problem(self, name: str, error: Exception) -> RequestError:
        """Return the error for the caller, and log the parts that the caller must not see."""
        if isinstance(error, RequestError):
            return error
        if isinstance(error, StatementError) and isinstance(error.orig, TooDeep):
            error = error.orig
        if isinstance(error, TooDeep):
            return invalid(("body",), f"the body holds a value that is {error}", "depth")
        if isinstance(error, DataError):
            return invalid(("body",), "the body holds text that the database can't store")
        failed = failure(error)
        if failed is None:
            logger.error("%s: internal error", name, exc_info=error)
            return RequestError("internal error: see the server's log")
        self._damaged |= failed is Failure.DAMAGED
        self._seldom.error(f"{failed.value} The database reported: {self._database.said(error)}")
        return Busy(failed.value) if failed.is_harmless else Unavailable(failed.value)

    async def _run(self, request: _Request) -> Success | Generation:
        """Check the request; run it and make its answer in one transaction.

        For a Generation, this is only the beginning. Writes wait in the writer's queue and occupy
        no thread of the pool, in which reads run.
        """

        def run(session: Session, *, only_reads: bool = False) -> Outcome:
            result = request.handler.run(request.call(session, only_reads=only_reads))
            if isinstance(result, Generation):
                request.check_samples(len(result.samples))
            if isinstance(result, Afterwards):
                return Afterwards(request.success(result.result), result.act)
            return result if isinstance(result, Generation | Stages) else request.success(result)

        def read() -> Outcome:
            request.parse()
            with self._database.read() as session:
                return run(session, only_reads=True)

        if request.handler.only_reads:
            try:
                outcome = await run_in_threadpool(read)
            except NeedsWriter:
                outcome = await self._write(run)
        else:
            if request.is_small:
                request.parse()
            else:
                await run_in_threadpool(request.parse)
            outcome = await self._write(run)
        if isinstance(outcome, Afterwards):
            outcome.act()
            result: Success = outcome.result
            return result
        return await self._go_through(outcome, request) if isinstance(outcome, Stages) else outcome

    async def _write(self, work: Callable[[Session], T]) -> T:
        self._check_writable()
        return await asyncio.wrap_future(self._database.submit(work))

    async def _go_through(self, stages: Stages, request: _Request) -> Success:
        """Run the stages in order; after a failure, undo the written parts."""

        def check() -> None:
            with self._database.read() as session:
                stages.check(request.call(session, only_reads=True))

        def write(stage: Stage) -> Callable[[Session], object]:
            return lambda session: stage(request.call(session))

        if stages.slow:
            await asyncio.get_running_loop().run_in_executor(self._checkers, check)
        else:
            await run_in_threadpool(check)
        try:
            for step in stages.steps:
                await self._write(write(step))
            answer = await run_in_threadpool(lambda: request.success(stages.answer()))
            await self._write(write(stages.finish))
        except OutcomeUnknown:
            # It may be complete and counted. Otherwise it is invisible, and is deleted later.
            raise
        except BaseException:
            for step in stages.undo:
                await self._write(write(step))
            raise
        return answer


@dataclass
class _Request:
    """The parts of a handler's Call, parsed outside of any transaction."""

    operation: Operation
    handler: Handler
    account: Account
    settings: Settings
    anchors: Anchors
    evaluating: Evaluating
    path: dict[str, str]
    query: str
    body: bytes
    repeated: bool
    by_reference: bool
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parsed: Any = None
    prepared: Any = None

    @property
    def is_small(self) -> bool:
        """Return whether parsing it takes no longer than handing it to a thread."""
        return len(self.body) <= _PARSED_AT_ONCE

    def parse(self) -> None:
        """Decode and check the parameters and the body, and prepare; raises RequestError."""
        self.parameters = read_query(self.operation, self.path, self.query)
        self.parsed = parse(self.operation, self.body, self.handler.nullable)
        if self.handler.prepare is not None:
            self.prepared = self.handler.prepare(self.parsed)

    def explain(self, error: StatementError) -> None:
        """Raise Invalid if the error is about a key in the request that is too long."""
        if isinstance(error.orig, KeyTooLong):
            places = {"path": self.path, "query": self.parameters, "body": self.parsed}
            raise long_key(places, error.orig) from error

    def check_samples(self, count: int) -> None:
        """Raise Invalid if the answer, which repeats much of the body, is too large."""
        check_samples(count, self.body, self.settings.memory_bytes)

    def call(self, session: Session, *, only_reads: bool = False) -> Call:
        """Return the call, with a session to run it in."""
        return Call(
            session,
            self.account,
            self.settings,
            self.anchors,
            self.evaluating,
            self.path,
            self.parameters,
            self.parsed,
            self.repeated,
            only_reads,
            self.prepared,
            self.by_reference,
        )

    def success(self, result: Any) -> Success:
        """Return the answer, which fits the operation's schema."""
        return answers.success(self.operation, result)


def _open_engine(settings: Settings) -> Engine:
    try:
        return open_engine(settings.evaluators, settings.sandbox)
    except EngineUnavailable as error:
        raise StartError(f"The sandbox for evaluators can't be started: {error}") from error


def _raw_path(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")


def _json(body: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(schemas.to_json(body), status, headers, media_type="application/json")
