"""The guard that keeps tests on this machine: no other test would notice that it is gone."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("10.0.0.1", 443)])
def test_connections_elsewhere_are_refused(address: tuple[str, int]) -> None:
    with socket.socket() as plain, pytest.raises(RuntimeError, match="loopback"):
        plain.connect(address)
    with pytest.raises(RuntimeError, match="loopback"):
        socket.create_connection(address, timeout=1)


def test_names_are_not_looked_up() -> None:
    with pytest.raises(RuntimeError, match="loopback"):
        socket.getaddrinfo("api.humanloop.com", 443)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_loopback_interface_is_open(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection((host, server.getsockname()[1]), timeout=5).close()
