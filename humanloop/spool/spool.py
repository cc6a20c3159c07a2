"""Spool: the object by which a client logs later.

A call validates its body as if it were sent, adds a reference ID and the time, appends it to a
file, and returns. The first call makes the writer and the sender; a fork's child makes new ones.

Invariants: no call waits for the network; a program that logs nothing later has no spool file and
no spool thread; no file contains a key; the caller's thread imports all modules that logging and
sending need, while no fork can happen: see `forks`.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Hashable, Iterator, Mapping
from datetime import datetime, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from humanloop.apis.operations import FEEDBACK_FEEDBACK, LOGS_LOG, LOGS_UPDATE_BY_REF
from humanloop.exceptions import (
    ApiTypeError,
    ApiValueError,
    ClientConfigurationError,
    SpoolFullError,
)
from humanloop.forks import no_fork
from humanloop.frames import shielded
from humanloop.operation import REFERENCE_HEADER, RETRY_HEADER, Operation, serialize
from humanloop.retries import RetryPolicy
from humanloop.schemas import unset
from humanloop.secrets import Secret
from humanloop.spool.batches import BY_REFERENCE, FEEDBACK, LOG, UPDATE, update_of
from humanloop.spool.directory import Directory
from humanloop.spool.options import (
    ENVIRONMENT,
    Flushed,
    SpoolOptions,
    SpoolStats,
    read_setting,
    spool_directory,
)
from humanloop.spool.references import new_reference
from humanloop.spool.sender import Flush, Send, Sender
from humanloop.spool.writer import Writer, WriterClosed
from humanloop.tracing.spans import PLACES, here

if TYPE_CHECKING:
    from humanloop.api_client import ApiClient, RequestOptions

__all__ = ["Spool"]

logger = logging.getLogger("humanloop.spool")

END_SECONDS = 2.0  # of flushing when a client is closed, and when the interpreter ends
ROOM_SECONDS = 0.02  # between two checks for room
TICK = 0.005  # seconds between two checks of an event loop that waits for a flush
_IMPORTED_BY_CALLS = ("encodings.idna", "urllib.request")
_OPTIONS = frozenset({"timeout", "connect_timeout", "read_timeout", "bodies", "retries"}) | {
    "skip_deserialization",
    "extra_headers",
    "idempotent",
}
_ACTIONS: Mapping[str, tuple[Operation, Mapping[str, str]]] = {
    LOG: (LOGS_LOG, {}),
    FEEDBACK: (FEEDBACK_FEEDBACK, {}),
    BY_REFERENCE: (FEEDBACK_FEEDBACK, {REFERENCE_HEADER: "reference_id"}),
    UPDATE: (LOGS_UPDATE_BY_REF, {}),
}
_LOG, _FEEDBACK, _BY_REFERENCE = LOG.encode(), FEEDBACK.encode(), BY_REFERENCE.encode()
_UPDATE = UPDATE.encode()


class _Core:
    """The writer and the sender of one process. told: the `sent` records that flushes reported."""

    def __init__(self, options: SpoolOptions, directory: Directory, sender: Sender) -> None:
        self.options = options
        self.directory = directory
        self.sender = sender
        self.writer = sender.writer
        self.told = 0
        self.dropped = self.refused = self.blocked = 0


class Spool:
    """The spool of a client; see the guide "Logging in production".

    api_client: sends the requests; transport: the user's own transport, if any; base: the directory
    to which a relative path belongs.
    """

    def __init__(
        self, api_client: ApiClient, transport: object = None, base: str | os.PathLike[str] = ""
    ) -> None:
        self._api_client = api_client
        self._transport = transport
        self._base = base
        self._core: _Core | None = None
        self._lock = threading.RLock()
        _spools.add(self)

    def __reduce__(self) -> tuple[type[Spool], tuple[Any, ...]]:
        """Return the recipe for an equal spool in another process, with files of its own."""
        return type(self), (self._api_client, self._transport, self._base)

    @property
    def destination(self) -> Hashable:
        """A value that is equal for spools that send to the same account of the same server."""
        configuration = self._api_client.configuration
        return Secret((configuration.host, tuple(dict(configuration.api_key).values())))

    # -- logging -----------------------------------------------------------------------------------

    @shielded
    def log(self, body: Mapping[str, Any] | None = None, **keys: Any) -> str:
        """Store a log to be sent later, and return its reference ID.

        Takes the arguments of `logs.log`, except arrays and call options. Fills in `reference_id`
        and `created_at` if they are missing, and the log's place: within a traced function, that
        call is the parent; within `client.session`, the log belongs to that session.

        Raises SchemaValidationError and ApiTypeError like `logs.log`; SpoolFullError if there is no
        room, SpoolError if nothing can be stored; ClientConfigurationError with `spool=None`.
        """
        reference_id, data = _log(body, keys, self)
        self._append(_LOG, data)
        return reference_id

    @shielded
    def keep(self, body: Mapping[str, Any]) -> str:
        """Store a log like `log`, but don't fill in its place."""
        reference_id, data = _log(body, {}, None)
        self._append(_LOG, data)
        return reference_id

    @shielded
    def update(self, reference_id: str, body: Mapping[str, Any]) -> None:
        """Store an update of a log: `output`, `error`, `duration` of an UpdateLogRequest.

        reference_id: of the log, which may still be pending. Raises the errors of `log`.
        """
        keys = {"reference_id": reference_id, "body": body}
        self._append(_UPDATE, update_of(reference_id, _serialized(LOGS_UPDATE_BY_REF, keys)))

    @shielded
    async def alog(self, body: Mapping[str, Any] | None = None, **keys: Any) -> str:
        """Store a log in an event loop; see `log`."""
        try:
            reference_id, data = _log(body, keys, self)
        finally:
            del body, keys  # a coroutine's frame can't be cleared
        await self._aappend(_LOG, data)
        return reference_id

    @shielded
    def feedback(self, body: Mapping[str, Any] | None = None, **keys: Any) -> None:
        """Store feedback to be sent later.

        Takes the arguments of `feedback_api.feedback`, except arrays and call options; also takes
        `reference_id` in place of `data_id`: of a log, which may still be pending.

        Raises the errors of `log`.
        """
        self._append(*_feedback(body, keys))

    @shielded
    async def afeedback(self, body: Mapping[str, Any] | None = None, **keys: Any) -> None:
        """Store feedback in an event loop; see `feedback`."""
        try:
            action, data = _feedback(body, keys)
        finally:
            del body, keys
        await self._aappend(action, data)

    def _append(self, action: bytes, data: bytes) -> None:
        try:
            self._ready().writer.append(action, data)
        except (SpoolFullError, WriterClosed) as error:
            for _ in self._again(action, data, error):
                time.sleep(ROOM_SECONDS)

    async def _aappend(self, action: bytes, data: bytes) -> None:
        from asyncio import get_running_loop, sleep  # asyncio is slower to import than all else

        core = self._ready()
        if core.options.durability == "fsync":
            await get_running_loop().run_in_executor(None, self._append, action, data)
            return
        try:
            core.writer.append(action, data)
        except (SpoolFullError, WriterClosed) as error:
            for _ in self._again(action, data, error):
                await sleep(ROOM_SECONDS)

    def _again(self, action: bytes, data: bytes, error: Exception) -> Iterator[None]:
        """Try to write again until it succeeds; yield when the caller should wait for room."""
        waited = False
        while True:
            core = self._ready()
            if isinstance(error, SpoolFullError) and not core.writer.look_again():
                with core.writer.lock:
                    when_full = core.options.when_full
                    if error.__cause__ is not None or when_full == "raise":
                        core.refused += 1
                        raise error
                    if when_full == "drop_newest":
                        core.dropped += 1
                        if core.dropped == 1:
                            logger.warning("%s; new records are dropped", error)
                        return
                    core.blocked += not waited
                waited = True
                yield
            try:
                core.writer.append(action, data)
            except (SpoolFullError, WriterClosed) as still:
                error = still
            else:
                return

    # -- sending -----------------------------------------------------------------------------------

    def flush(self, timeout: float | None = 10.0) -> Flushed:
        """Send everything now, including the orphaned segments in the same directory.

        timeout: seconds to wait until all is sent; None: no limit. Returns earlier if the server
        refuses the client itself, for example its key.
        """
        seconds = _seconds(timeout)
        core = self._core_to_flush()
        if core is None:
            return Flushed(0, 0)
        flush = core.sender.flush()
        if core.sender.start():
            flush.done.wait(seconds)
        else:
            core.sender.pump(flush, seconds)
        return _flushed(core, flush)

    async def aflush(self, timeout: float | None = 10.0) -> Flushed:
        """Send everything now, in an event loop; see `flush`."""
        from asyncio import sleep

        end = time.monotonic() + _seconds(timeout)
        core = self._core_to_flush()
        if core is None:
            return Flushed(0, 0)
        flush = core.sender.flush()
        if core.sender.start():
            while not flush.done.is_set() and time.monotonic() < end:
                await sleep(TICK)
        else:
            core.sender.pump(flush, end - time.monotonic())
        return _flushed(core, flush)

    def stats(self) -> SpoolStats:
        """Return the numbers of written, sent and pending records, and more: see `SpoolStats`."""
        options = read_setting(self._api_client.configuration.spool)
        if options is None:
            return SpoolStats()
        directory, core = self._directory(options), self._core
        if core is None:
            return SpoolStats(str(directory.path), bytes=directory.size())
        sender = core.sender
        return SpoolStats(
            str(directory.path),
            sender.state,
            sender.last_error,
            core.writer.written,
            sender.counts.sent,
            sender.counts.duplicates,
            sender.left,
            sender.held,
            sender.counts.set_aside,
            core.dropped,
            core.refused,
            core.blocked,
            directory.size(),
        )

    def close(self, timeout: float = END_SECONDS) -> None:
        """Send the pending records, for up to `timeout` seconds, and end the thread.

        Warns of records that can't be sent, unless `timeout` is 0. A later call opens it again.
        """
        core = self._core
        if core is None:
            return
        end = time.monotonic() + timeout
        if core.sender.left:
            self.flush(timeout)
        if timeout:
            core.sender.tell_left()
        self._let_go(core)
        core.sender.stop(max(0.0, end - time.monotonic()))

    async def aclose(self) -> None:
        """Close in an event loop; see `close`."""
        from asyncio import get_running_loop, sleep

        core = self._core
        if core is None:
            return
        if core.sender.left:
            await self.aflush(END_SECONDS)
        core.sender.tell_left()
        self._let_go(core)
        core.sender.stop(0.0)
        end = get_running_loop().time() + 0.1
        while core.sender.is_running and get_running_loop().time() < end:
            await sleep(TICK)

    # -- the objects of one process ----------------------------------------------------------------

    def _ready(self) -> _Core:
        """Return the core, with the sender's thread running."""
        core = self._core
        if core is not None and core.sender.is_running:
            return core
        core = self._made()
        core.sender.start()
        return core

    def _made(self) -> _Core:
        with self._lock:
            if self._core is None or self._core.writer.is_closed:
                with no_fork.importing():
                    self._core = self._make()
            return self._core

    def _make(self) -> _Core:
        configuration = self._api_client.configuration
        options = read_setting(configuration.spool)
        if options is None:
            raise ClientConfigurationError(
                "log_later() needs a spool, and this client has none: spool is None, or the"
                f" environment's {ENVIRONMENT} is off"
            )
        _ = self._api_client.transport  # ClientConfigurationError if only async_transport is given
        for module in _IMPORTED_BY_CALLS:
            import_module(module)
        directory = self._directory(options)
        alive = weakref.ref(self)  # so that the thread ends when the spool is no longer referenced
        sender = Sender(
            Writer(directory, options),
            directory,
            _sending(self._api_client),
            RetryPolicy.of(configuration.retries),
            lambda: alive() is not None,
        )
        return _Core(options, directory, sender)

    def _directory(self, options: SpoolOptions) -> Directory:
        configuration = self._api_client.configuration
        keys = dict(configuration.api_key).values()  # in clear
        return Directory(
            spool_directory(options, configuration.host, keys, self._transport, self._base)
        )

    def _core_to_flush(self) -> _Core | None:
        """Return the core; None if nothing was ever written."""
        if self._core is None:
            options = read_setting(self._api_client.configuration.spool)
            if options is None or not self._directory(options).path.exists():
                return None
        return self._made()

    def _let_go(self, core: _Core) -> None:
        with self._lock:
            if self._core is core:
                self._core = None

    def after_fork(self) -> None:
        """Reset in a fork's child: the files, locks and the thread belong to the parent."""
        self._core = None
        self._lock = threading.RLock()

    def at_exit(self, end: float) -> None:
        """Send the pending records until `end`, by `time.monotonic()`; close the connections."""
        if self._core is not None:
            self.close(max(0.05, end - time.monotonic()))
            self._api_client.close()


def _flushed(core: _Core, flush: Flush) -> Flushed:
    core.sender.forget(flush)
    sent = core.sender.counts.sent
    core.told, told = sent, core.told
    return Flushed(sent - told, core.sender.left)


def _seconds(timeout: float | None) -> float:
    if timeout is None:
        return threading.TIMEOUT_MAX
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout >= 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ApiValueError(f"timeout must be a number of seconds from 0 up, not {timeout!r}")
    return min(timeout, threading.TIMEOUT_MAX)


def _sending(api_client: ApiClient) -> Send:
    """Return the sending function, which holds no reference to the spool."""

    def send(action: str, data: bytes, names: str) -> Any:
        operation, headers = _ACTIONS[action]
        query = urlencode({"reference_id": names}) if action == UPDATE else ""
        options: RequestOptions = {
            "extra_headers": {RETRY_HEADER: "1", **headers},
            "retries": 0,  # the sender decides
            "skip_deserialization": True,
        }
        answer = api_client.call_with_body(operation, data, options, query=query).body
        return [answer] if action == UPDATE else answer

    return send


# -- the records ----------------------------------------------------------------------------------


def _log(
    body: Mapping[str, Any] | None, keys: dict[str, Any], writer: Spool | None
) -> tuple[str, bytes]:
    """Return the reference ID and the JSON of a log.

    writer: the spool that writes it, to fill in the log's place; None: don't.
    """
    given = _given("log_later()", body, keys)
    if writer is not None and all(given.get(key) in _MISSING for key in PLACES):
        given |= here(writer)
    if given.get("reference_id") in _MISSING:
        given["reference_id"] = new_reference()
    return str(given["reference_id"]), _written(LOGS_LOG, "log_later()", body, given)


def _feedback(body: Mapping[str, Any] | None, keys: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return the action and the JSON of feedback."""
    reference_id = keys.pop("reference_id", None)
    given = _given("feedback_later()", body, keys)
    by_id = given.get("data_id") not in _MISSING
    if by_id is (reference_id not in _MISSING):
        which = (
            "either data_id= or reference_id=, not both" if by_id else "data_id= or reference_id="
        )
        raise ApiTypeError(f"feedback_later() needs {which}, of the log that it is about")
    if not by_id:
        given["data_id"] = reference_id
    data = _written(FEEDBACK_FEEDBACK, "feedback_later()", body, given)
    return _FEEDBACK if by_id else _BY_REFERENCE, data


_MISSING = (None, unset)


def _given(function: str, body: Any, keys: dict[str, Any]) -> dict[str, Any]:
    """Return the given keys, with the time."""
    if body is None:
        given = keys
    elif not isinstance(body, Mapping):
        came = type(body).__name__
        raise ApiTypeError(f"{function} takes one object as body, not {came}; call it for each")
    elif keys:
        raise ApiTypeError(f"{function} takes either body= or the body's keys, not both")
    else:
        given = dict(cast("Mapping[str, Any]", body))
        given.pop("provider_api_keys", None)  # version 0.5 put them into every body
    if given.get("created_at") in _MISSING:
        given["created_at"] = datetime.now(timezone.utc).isoformat()
    return given


def _written(operation: Operation, function: str, body: object, given: Mapping[str, Any]) -> bytes:
    """Validate a body, and return its JSON."""
    try:
        return _serialized(operation, given if body is None else {"body": given})
    except ApiTypeError as error:
        message = str(error).replace(f"{operation.name}()", function, 1)
        if options := [name for name in given if name in _OPTIONS]:
            message = (
                f"{function} sends nothing itself, so it takes no {options[0]}=;"
                " the client's settings apply"
            )
        raise type(error)(message) from None


_used: set[str] = set()  # operations whose schemas are already imported


def _serialized(operation: Operation, arguments: Mapping[str, Any]) -> bytes:
    if operation.name in _used:
        data = serialize(operation, arguments).body
    else:
        with no_fork.importing():
            data = serialize(operation, arguments).body
            _ = operation.response_schema
            _used.add(operation.name)
    assert data is not None, "each of the operations has a body"
    return data


# -- forks, and the end ---------------------------------------------------------------------------

_spools: weakref.WeakSet[Spool] = weakref.WeakSet()


def _after_fork() -> None:
    for spool in list(_spools):
        spool.after_fork()


def _at_exit() -> None:
    end = time.monotonic() + END_SECONDS
    for spool in list(_spools):
        spool.at_exit(end)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
