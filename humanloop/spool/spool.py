"""Spool: the object by which a client logs later.

A call validates its body as if it were sent, adds a reference ID and the time, appends it to a
file, and returns. The first call makes the writer and the sender; a fork's child makes new ones.

Invariants: no call waits for the network; a program that logs nothing later has no spool file and
no spool thread; no file contains a key; the caller's thread imports all modules that logging and
sending need, while no fork can happen: see `forks`.
"""

from __future__ import annotations

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
from humanloop.spool.sender import END_SECONDS, Sender
from humanloop.spool.writer import Writer, WriterClosed
from humanloop.tracing.spans import PLACES, here

if TYPE_CHECKING:
    from humanloop.api_client import ApiClient, RequestOptions

__all__ = ["Spool"]

logger = logging.getLogger("humanloop.spool")

ROOM_SECONDS = 0.02  # between two checks for room
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
        self._sender: Sender | None = None
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

        writer = self._ready().writer
        if writer.options.durability == "fsync":
            await get_running_loop().run_in_executor(None, self._append, action, data)
            return
        try:
            writer.append(action, data)
        except (SpoolFullError, WriterClosed) as error:
            for _ in self._again(action, data, error):
                await sleep(ROOM_SECONDS)

    def _again(self, action: bytes, data: bytes, error: Exception) -> Iterator[None]:
        """Try to write again until it succeeds; yield when the caller should wait for room."""
        waited = False
        while True:
            sender = self._ready()
            writer = sender.writer
            if isinstance(error, SpoolFullError) and not writer.look_again():
                when_full = writer.options.when_full
                if when_full == "block" and (sender.is_in_round or no_fork.is_mine):
                    when_full = "raise"  # there is no room while this thread waits
                if error.__cause__ is not None:  # the disk is full
                    when_full = "raise"
                if when_full == "raise":
                    writer.refused += 1
                    raise error
                if when_full == "drop_newest":
                    writer.dropped += 1
                    if writer.dropped == 1:
                        logger.warning("%s; new records are dropped", error)
                    return
                writer.blocked += not waited
                waited = True
                yield
            try:
                writer.append(action, data)
            except (SpoolFullError, WriterClosed) as still:
                error = still
            else:
                return

    # -- sending -----------------------------------------------------------------------------------

    def flush(self, timeout: float | None = 10.0) -> Flushed:
        """Send everything now, including the orphaned segments in the same directory.

        timeout: seconds to wait until all is sent that was logged before; None: no limit. Returns
        earlier if the server refuses the client itself, for example its key, and at once in a hook
        of the requests that send the records. Raises SpoolError if the directory can't be read.
        """
        seconds = _seconds(timeout)
        sender = self._sender_to_flush()
        return Flushed(0, 0) if sender is None else sender.flush(seconds)

    async def aflush(self, timeout: float | None = 10.0) -> Flushed:
        """Send everything now, in an event loop; see `flush`."""
        seconds = _seconds(timeout)
        sender = self._sender_to_flush()
        return Flushed(0, 0) if sender is None else await sender.aflush(seconds)

    def stats(self) -> SpoolStats:
        """Return the numbers of written, sent and pending records, and more: see `SpoolStats`.

        Raises SpoolError if the directory can't be read.
        """
        options = read_setting(self._api_client.configuration.spool)
        if options is None:
            return SpoolStats()
        directory, sender = self._directory(options), self._sender
        if sender is None:
            return SpoolStats(str(directory.path), bytes=directory.size())
        writer, delivery = sender.writer, sender.delivery
        return SpoolStats(
            str(directory.path),
            sender.state,
            sender.last_error,
            writer.tally.written,
            delivery.sent,
            delivery.duplicates,
            delivery.left,
            delivery.held,
            delivery.set_aside,
            writer.dropped,
            writer.refused,
            writer.blocked,
            directory.size(),
        )

    def close(self, timeout: float = END_SECONDS) -> None:
        """Send the pending records, for up to `timeout` seconds, and end the thread.

        Warns of records that can't be sent, unless `timeout` is 0. A later call opens it again.
        """
        if (sender := self._sender) is not None:
            self._sender = None
            sender.close(timeout)

    async def aclose(self) -> None:
        """Close in an event loop; see `close`."""
        if (sender := self._sender) is not None:
            self._sender = None
            await sender.aclose()

    # -- the objects of one process ----------------------------------------------------------------

    def _ready(self) -> Sender:
        """Return the sender, with its thread running."""
        sender = self._sender
        if sender is not None and sender.is_running:
            return sender
        sender = self._made()
        sender.start()
        return sender

    def _made(self) -> Sender:
        sender = self._sender
        if sender is None or sender.writer.is_closed:
            with no_fork.importing():
                made = self._make()
            with no_fork.lock:
                sender = self._sender
                if sender is None or sender.writer.is_closed:
                    self._sender = made
                    return made
            made.stop(0.0)  # another thread was faster, or a signal handler
        return sender

    def _make(self) -> Sender:
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
        writer = Writer(directory, options)
        bell = writer.bell
        # The thread learns when the spool is no longer referenced.
        alive = weakref.ref(self, lambda _: bell.set())
        return Sender(
            writer,
            directory,
            _Server(self._api_client),
            RetryPolicy.of(configuration.retries),
            lambda: alive() is not None,
        )

    def _directory(self, options: SpoolOptions) -> Directory:
        configuration = self._api_client.configuration
        keys = dict(configuration.api_key).values()  # in clear
        return Directory(
            spool_directory(options, configuration.host, keys, self._transport, self._base)
        )

    def _sender_to_flush(self) -> Sender | None:
        """Return the sender; None if nothing was ever written."""
        if self._sender is None:
            options = read_setting(self._api_client.configuration.spool)
            if options is None or not self._directory(options).exists():
                return None
        return self._made()

    def after_fork(self) -> None:
        """Reset in a fork's child: the files, locks and the thread belong to the parent."""
        self._sender = None


def _seconds(timeout: float | None) -> float:
    if timeout is None:
        return threading.TIMEOUT_MAX
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout >= 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ApiValueError(f"timeout must be a number of seconds from 0 up, not {timeout!r}")
    return min(timeout, threading.TIMEOUT_MAX)


class _Server:
    """The server of an ApiClient; holds no reference to the spool."""

    def __init__(self, api_client: ApiClient) -> None:
        self._api_client = api_client

    def send(self, action: str, data: bytes, names: str, timeout: float | None) -> Any:
        """Send the body of an action; see `Server`."""
        operation, headers = _ACTIONS[action]
        query = urlencode({"reference_id": names}) if action == UPDATE else ""
        options: RequestOptions = {
            "extra_headers": {RETRY_HEADER: "1", **headers},
            "retries": 0,  # the sender decides
            "skip_deserialization": True,
        }
        if timeout is not None:
            options["timeout"] = timeout
        answer = self._api_client.call_with_body(operation, data, options, query=query).body
        return [answer] if action == UPDATE else answer

    def close(self) -> None:
        """Close the connections."""
        self._api_client.close()


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


# -- forks ----------------------------------------------------------------------------------------

_spools: weakref.WeakSet[Spool] = weakref.WeakSet()


def _after_fork() -> None:
    for spool in list(_spools):
        spool.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
