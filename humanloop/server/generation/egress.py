"""The only outgoing connections: all requests of the server to providers go through here.

Each request has its own connection, so that closing one affects no other. Invariants: the address
of the connected socket is checked before any byte is sent on it, TLS included; proxies and
redirects are never used, and certificates are checked; every wait ends at the deadline, or as soon
as the answer is cancelled; no error's text contains any part of the request.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util.ssl_ import create_urllib3_context

from humanloop.http import Headers, media_type
from humanloop.retries import STATUSES, Fault, RetryPolicy, after_fault, after_response
from humanloop.secrets import one_line, shorten
from humanloop.server.generation.addresses import Target
from humanloop.server.generation.providers import Cancellation, Cancelled, ProviderError
from humanloop.transport.common import chain_of
from humanloop.version import __version__

MAX_BYTES = 64 * 1024 * 1024
"""The largest answer, in bytes."""

_CHUNK = 64 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_OVERLOADED = 529  # Anthropic's own status
_ERRORS = (HTTPError, OSError, http.client.HTTPException, ValueError)
_RETRY = RetryPolicy(statuses=STATUSES | {_OVERLOADED}, faults=frozenset({"connect", "broken"}))


@dataclass(frozen=True)
class ProviderLimits:
    """The time limits of a provider.

    seconds: for an answer, all tries together. silent_seconds: until the next part of a stream.
    connect_seconds: to connect. retry: the policy for retries.
    """

    seconds: float = 600
    silent_seconds: float = 300
    connect_seconds: float = 10
    retry: RetryPolicy = _RETRY


class _Unanswered(ProviderError):
    """No answer came; fault: the kind of fault, None if a retry would fail as well."""

    def __init__(self, text: str, fault: Fault | None) -> None:
        super().__init__(text)
        self.fault: Fault | None = fault


class Deadline:
    """The deadline of one generation, all tries included, and its cancellation."""

    def __init__(self, limits: ProviderLimits, cancellation: Cancellation) -> None:
        self.limits = limits
        self.cancellation = cancellation
        self._end = time.monotonic() + limits.seconds

    @property
    def left(self) -> float:
        """Return the remaining seconds."""
        return self._end - time.monotonic()

    def check(self) -> None:
        """Raise Cancelled, or ProviderError if no time is left."""
        if self.cancellation.cancelled:
            raise Cancelled
        if self.left <= 0:
            raise ProviderError(f"no complete answer within {self.limits.seconds:g} seconds")


class Reply:
    """An answer whose head has arrived. `read` raises ProviderError and Cancelled."""

    def __init__(self, response: BaseHTTPResponse, deadline: Deadline) -> None:
        self._response = response
        self._deadline = deadline
        self._size = 0
        self.status = response.status
        self.no_retry = ""  # why no retry followed, where one could have helped
        self.headers = Headers(response.headers.items())

    @property
    def is_success(self) -> bool:
        """Return whether the status is 2xx."""
        return 200 <= self.status <= 299

    @property
    def title(self) -> str:
        """Return the status and its reason phrase."""
        return one_line(f"{self.status} {http.client.responses.get(self.status, '')}")

    @property
    def media_type(self) -> str:
        """Return the media type without parameters, in lower case."""
        return media_type(self.headers)

    def read(self) -> bytes:
        """Return the next bytes as soon as some arrive; empty at the end."""
        try:
            data = self._response.read1(_CHUNK)
        except _ERRORS as error:
            self._deadline.check()
            raise ProviderError(_broken(error, self._deadline.limits.silent_seconds)) from None
        if not data:
            self._deadline.check()  # a connection that the deadline ended looks like a normal end
        self._size += len(data)
        if self._size > MAX_BYTES:
            raise ProviderError(f"the answer is over {MAX_BYTES:,} bytes")
        return data

    def read_all(self) -> bytes:
        """Return the rest of the body."""
        return b"".join(iter(self.read, b""))

    def read_error(self) -> str:
        """Return the beginning of an error's body, as far as it can be read."""
        data = b""
        with suppress(ProviderError):
            while len(data) < _MAX_ERROR_BYTES and (part := self.read()):
                data += part
        self._deadline.check()
        return data[:_MAX_ERROR_BYTES].decode("utf-8", "replace")


class Egress:
    """The sender of requests to one target."""

    def __init__(self, target: Target) -> None:
        self._target = target

    @contextmanager
    def send(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        deadline: Deadline,
        *,
        stream: bool,
    ) -> Generator[Reply]:
        """Post a body, retry if that may help, and yield the answer, whatever its status.

        stream: the answer is to come in parts, each within `silent_seconds`.

        Raises ProviderError, and Cancelled.
        """
        fields = Headers({"Accept-Encoding": "identity", "Content-Type": "application/json"})
        fields["Accept"] = "text/event-stream" if stream else "application/json"
        fields["User-Agent"] = f"humanloop-server/{__version__}"
        fields.update(headers)
        policy = deadline.limits.retry
        for attempt in count(1):
            deadline.check()
            with ExitStack() as stack:
                try:
                    exchange = _Exchange(self._target, deadline, stream=stream)
                    reply = stack.enter_context(exchange.post(path, body, fields))
                except _Unanswered as error:
                    if error.fault is None:
                        raise
                    decision = after_fault(
                        policy, error.fault, attempt=attempt, repeatable=True, sent=True
                    )
                    if decision.wait is None or decision.wait >= deadline.left:
                        raise
                else:
                    decision = after_response(
                        policy,
                        reply.status,
                        reply.headers,
                        attempt=attempt,
                        repeatable=True,
                        now=time.time(),
                    )
                    reply.no_retry = decision.reason
                    if decision.wait is not None and decision.wait >= deadline.left:
                        reply.no_retry = (
                            f"the next try would come in {decision.wait:.3g} s, too late"
                        )
                    if decision.wait is None or reply.no_retry:
                        yield reply
                        return
            deadline.cancellation.wait(decision.wait)


class _Exchange:
    """One request on its own connection, closed with it."""

    def __init__(self, target: Target, deadline: Deadline, *, stream: bool) -> None:
        self._target = target
        self._deadline = deadline
        self._stream = stream
        self._socket: socket.socket | None = None

    @contextmanager
    def post(self, path: str, body: bytes, headers: Headers) -> Generator[Reply]:
        """Send the request; yield the answer once its head has arrived."""
        connection = self._connection()
        watch = threading.Timer(max(self._deadline.left, 0), self._end)
        watch.daemon = True
        with ExitStack() as stack:
            stack.callback(connection.close)
            stack.callback(watch.cancel)
            watch.start()
            stack.enter_context(self._deadline.cancellation.ending(self._end))
            self._connect(connection)
            reply = self._answer(connection, path, body, headers)
            stack.callback(reply.close)
            yield Reply(reply, self._deadline)

    def _connection(self) -> HTTPConnection:
        target = self._target
        timeout = max(min(self._deadline.limits.connect_seconds, self._deadline.left), 0.001)
        if target.scheme == "http":
            return _Connection(target, timeout)
        return _TlsConnection(target, timeout)

    def _connect(self, connection: HTTPConnection) -> None:
        where = f"{self._target.host}:{self._target.port}"
        limit = self._deadline.limits.connect_seconds
        try:
            connection.connect()
        except _Refused as error:
            raise _Unanswered(str(error), None) from None
        except _ERRORS as error:
            self._deadline.check()
            cause = _innermost(error)
            if isinstance(cause, ssl.SSLError):
                text = f"no trusted TLS connection to {where}: {_said(cause)}"
                raise _Unanswered(text, None) from None
            late = isinstance(cause, TimeoutError)
            why = f"no connection within {limit:g} seconds" if late else _said(cause)
            raise _Unanswered(f"can't connect to {where}: {why}", "connect") from None
        self._socket = connection.sock
        self._deadline.check()  # an earlier `_end` had no socket to close
        wait = self._deadline.limits.silent_seconds if self._stream else self._deadline.left
        connection.timeout = max(min(wait, self._deadline.left), 0.001)

    def _answer(
        self, connection: HTTPConnection, path: str, body: bytes, headers: Headers
    ) -> BaseHTTPResponse:
        try:
            connection.request(
                "POST", self._target.path + path, body, headers.reveal(), preload_content=False
            )
            return connection.getresponse()
        except _ERRORS as error:
            self._deadline.check()
            late = isinstance(_innermost(error), TimeoutError)
            text = _broken(error, self._deadline.limits.silent_seconds)
            raise _Unanswered(text, "timeout" if late else "broken") from None

    def _end(self) -> None:
        """Wake, from another thread, the code that waits for the connection."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


# -- connections ----------------------------------------------------------------------------------


class _Refused(Exception):
    """The connected address is not allowed for the target."""


class _Connection(HTTPConnection):
    """A connection that accepts only the target's addresses."""

    def __init__(self, target: Target, timeout: float, **options: Any) -> None:
        super().__init__(target.host, target.port, timeout=timeout, **options)
        self._target = target

    def _new_conn(self) -> socket.socket:
        # This is the only hook between TCP and TLS, and urllib3 has no public name for it.
        connected = super()._new_conn()
        try:
            refusal = self._target.refusal(connected.getpeername()[0])
            if refusal is not None:
                raise _Refused(refusal)
        except BaseException:
            connected.close()
            raise
        return connected


class _TlsConnection(_Connection, HTTPSConnection):
    """A `_Connection` with TLS."""

    def __init__(self, target: Target, timeout: float) -> None:
        super().__init__(target, timeout, ssl_context=_tls_context())


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the context of all connections, cached because loading the certificates is slow."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.check_hostname = True
    context.load_verify_locations(os.environ.get("SSL_CERT_FILE") or certifi.where())
    return context


# -- errors ---------------------------------------------------------------------------------------


def _innermost(error: BaseException) -> BaseException:
    """Return the system's error that the libraries have wrapped."""
    return list(chain_of(error))[-1]


def _broken(error: BaseException, seconds: float) -> str:
    cause = _innermost(error)
    if isinstance(cause, TimeoutError):
        return f"no data for {seconds:g} seconds"
    return f"the connection failed: {_said(cause)}"


def _said(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return shorten(one_line(str(text)), 200)
