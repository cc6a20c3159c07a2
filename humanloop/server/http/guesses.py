"""Delays for peers that guess API keys, each peer for itself.

Invariants: a valid key never waits, not even after wrong keys of the same peer; memory is bounded.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict

_FREE = 10  # wrong keys answered without delay: somebody mixed up two keys
_STEPS = 10  # further wrong keys until the delay is longest
_FORGOTTEN = 60  # seconds after the last wrong key
_PEERS = 4096


class Guesses:
    """The number of wrong keys of each peer; longest: an answer's longest delay, in seconds."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._peers: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def delay(self, host: str) -> float:
        """Count a wrong key from an address; return the delay of its answer, in seconds."""
        now, peer = time.monotonic(), _network(host)
        count, last = self._peers.pop(peer, (0, now))
        count = 1 if now - last > _FORGOTTEN else count + 1
        self._peers[peer] = (count, now)
        if len(self._peers) > _PEERS:
            self._peers.popitem(last=False)
        return self._longest * min(max(count - _FREE, 0), _STEPS) / _STEPS


def _network(host: str) -> str:
    """Return the addresses of one peer: an IPv4 address, or a /64 network of IPv6 (RFC 6177)."""
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    return host if address.ipv4_mapped else str(ipaddress.ip_network((address, 64), strict=False))
