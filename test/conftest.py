"""What holds for every test: no network but the loopback interface, no failure by being slow."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

try:
    import hypothesis
except ModuleNotFoundError:  # the tests of the types run without it
    pass
else:
    # A deadline for each example fails on a machine that is busy with something else.
    hypothesis.settings.register_profile("no deadline", deadline=None)
    hypothesis.settings.load_profile("no deadline")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of the server choose what they run on."""
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="what the embedded server of test/server keeps its data in",
    )


def pytest_configure() -> None:
    """Heed Ctrl+C, which shells let what they start in the background ignore.

    The processes that tests start and interrupt would ignore it as well.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left with it when others are done."""
    items.sort(key=_rank)  # which leaves the order of those of one kind as it is


def _rank(item: pytest.Item) -> int:
    order = ("server", "cli", "test_pytest_plugin.py", "codegen", "client")
    place = item.path.relative_to(Path(__file__).parent).parts[0]
    return order.index(place) if place in order else len(order)


def pytest_collection_finish() -> None:
    """Leave what is there by now out of collections of garbage, which many tests ask for."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> Iterator[None]:
    """Refuse every connection and every look-up of a name that would leave this machine.

    The refusal is no OSError, so that no code under test takes it for an ordinary failure.
    """
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and name.endswith(".invalid"):
            # No such name exists (RFC 6761), so there is no need to ask anybody.
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        _refuse_elsewhere(name)
        return look_up(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        for method in ("connect", "connect_ex"):
            patch.setattr(socket.socket, method, _guarded(getattr(socket.socket, method)))
        yield


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_elsewhere(address[0])
        return connect(self, address)

    return guarded


def _refuse_elsewhere(host: str | None) -> None:
    if host in (None, "", "localhost"):
        return
    try:
        local = ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        local = False
    if not local:
        raise RuntimeError(f"a test tried to reach {host!r}; tests stay on the loopback interface")
