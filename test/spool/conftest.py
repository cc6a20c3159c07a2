"""A server that can stop and start again at its address, and clients with the test's own spool."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prepared import prepare

from humanloop import Humanloop
from humanloop.server import EmbeddedServer, Settings

KEY = "hl_key-of-the-tests"
LOG: dict[str, Any] = {"project": "p", "config": {"model": "m"}}


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Place:
    """An address, the database of its server, and a directory for spools."""

    def __init__(self, directory: Path) -> None:
        self.spool = directory / "spool"
        self.port = free_port()
        self.host = f"http://127.0.0.1:{self.port}/v4"
        self._url = f"sqlite:///{directory / 'own.db'}"
        prepare(directory / "own.db")
        self.clients: list[Humanloop] = []

    def server(self, **settings: Any) -> EmbeddedServer:
        """Return a server for a `with` block; each one has the same address and database."""
        given = Settings(**settings)
        return EmbeddedServer(self._url, port=self.port, api_key=KEY, settings=given)

    def client(self, **options: Any) -> Humanloop:
        """Return a client, which is closed at the end of the test."""
        made = Humanloop(**{"api_key": KEY, "host": self.host, "spool": self.spool, **options})
        self.clients.append(made)
        return made

    @property
    def directory(self) -> Path:
        """The account's directory."""
        [found] = self.spool.iterdir()
        return found

    def files(self, suffix: str = "") -> list[Path]:
        """Return the files of the spool."""
        return sorted(self.spool.glob(f"*/*{suffix}"))

    def records(self, project: str = "p") -> list[dict[str, Any]]:
        """Return all logs of a project, oldest first."""
        with Humanloop(KEY, self.host, bodies="plain") as client:
            projects: Any = client.projects.list(filter=project).body
            if not projects["records"]:
                return []
            logs = client.projects.iterate_export(id=projects["records"][0]["id"], size=100)
            return [*logs][::-1]  # type: ignore[list-item]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return an address without a server, and a directory without a spool."""
    made = Place(tmp_path)
    yield made
    for client in made.clients:
        sender, client.spool._sender = client.spool._sender, None  # close() would wait for it
        if sender is not None:
            sender.stop(2)
        client.close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the keys and the spool of the user who runs the tests."""
    for name in ("API_KEY", "BASE_URL", "SPOOL"):
        monkeypatch.delenv(f"HUMANLOOP_{name}", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
