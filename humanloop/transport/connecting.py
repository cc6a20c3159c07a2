"""Look up a host, and connect to the first of its addresses that answers, within one deadline.

A `remaining` function returns the seconds that are left for a wait (None: any), and raises
TimeoutError when there are none.

Invariants: the deadline is for all addresses together. One that stays silent holds up the next for
`STAGGER` seconds only, so a host whose IPv6 is broken still answers at once (RFC 8305, "Happy
Eyeballs"). All sockets are closed but the one that is returned.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from itertools import zip_longest
from time import monotonic
from typing import Any, cast

from humanloop.transport.common import LONGEST, in_thread

__all__ = ["STAGGER", "Address", "connect", "look_up"]

STAGGER = 0.25
"""Seconds from one attempt to the next (RFC 8305, section 5)."""

Address = tuple[int, int, int, str, Any]
"""Family, kind, protocol, canonical name and address, as `socket.getaddrinfo` returns them."""

Remaining = Callable[[], float | None]

_lookups: dict[tuple[object, ...], Future[list[Any]]] = {}
"""Those under way, by process (threads don't fork): a dead name server costs one thread a host."""


def look_up(host: str, port: int, family: int, remaining: Remaining) -> list[Address]:
    """Return the addresses of a host. Raises what `socket.getaddrinfo` does, or TimeoutError.

    Systems offer no limit for it. So a thread asks, which is left alone when time is over; without
    a limit, and for a literal address, none is needed.
    """
    limit = remaining()
    if limit is None or _is_address(host):
        return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
    key = (os.getpid(), host, port, family)
    lookup = _lookups.get(key)
    if lookup is None:
        new: Future[list[Any]] = Future()
        lookup = _lookups.setdefault(key, new)  # atomic: the first one wins
        if lookup is new:
            new.add_done_callback(lambda _: _lookups.pop(key, None))
            arguments = (host, port, family, socket.SOCK_STREAM)
            in_thread("humanloop-lookup", socket.getaddrinfo, *arguments, result=new)
    try:
        # Not `result`: each of those who wait raises an error of its own.
        error = lookup.exception(limit)
    except FutureTimeoutError as late:  # which Python 3.10 has apart
        raise TimeoutError("the deadline has passed") from late
    if error is not None:
        raise type(error)(*error.args)
    return lookup.result()


def connect(
    addresses: list[Address], make_socket: Callable[[Address], socket.socket], remaining: Remaining
) -> socket.socket:
    """Return a socket that is connected to one of the addresses, in non-blocking mode.

    Raises the error of the last attempt when all have failed, or TimeoutError.
    """
    untried = deque(_by_turns(addresses))
    pending: set[socket.socket] = set()
    error, next_start = OSError("the host has no address"), 0.0
    try:
        with selectors.DefaultSelector() as selector:
            while untried or pending:
                left = remaining()
                if untried and (not pending or monotonic() >= next_start):
                    address = untried.popleft()
                    try:
                        sock = _begin(make_socket(address), address[4])
                    except OSError as failed:
                        error = failed
                        continue
                    pending.add(sock)
                    selector.register(sock, selectors.EVENT_WRITE)
                    next_start = monotonic() + STAGGER
                if untried:
                    left = min(LONGEST if left is None else left, next_start - monotonic())
                for key, _ in selector.select(left):
                    sock = cast("socket.socket", key.fileobj)
                    selector.unregister(sock)
                    pending.remove(sock)
                    if not (number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                        return sock
                    sock.close()
                    error, next_start = OSError(number, os.strerror(number)), 0.0
        raise error
    finally:
        del error  # its traceback holds this frame, which would hold it
        for sock in pending:
            sock.close()


def _begin(sock: socket.socket, address: Any) -> socket.socket:
    """Begin to connect; raise OSError where that fails at once."""
    try:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _by_turns(addresses: list[Address]) -> list[Address]:
    """Return addresses of both families in turn; the system's preferred family comes first."""
    preferred = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [a for pair in zip_longest(preferred, others) for a in pair if a is not None]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
