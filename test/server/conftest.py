"""A real server on a real database, called over the loopback interface.

With `--database postgresql` it is not a SQLite file, but on a PostgreSQL that the session runs.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prepared import prepare

from bench.postgres import Missing, Postgres, running
from humanloop.server import EmbeddedServer, Settings
from humanloop.server.store import urls
from humanloop.server.store.database import Database

from .api import API_KEY, Api
from .chatting import SYSTEM, Own, Scripted, config

_NUMBERS = itertools.count()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests for the other kind of database."""
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}[config.getoption("--database")]
    skip = pytest.mark.skip(reason=f"it needs --database {other}")
    for item in items:
        if item.get_closest_marker(other) is not None:
            item.add_marker(skip)


def run_postgres() -> Iterator[Postgres]:
    """Run one for as long as a fixture lives."""
    try:
        with running(durable=False) as found:
            yield found
    except Missing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of the session's own."""
    yield from run_postgres()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, which no other server knows."""
    yield from run_postgres()


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> Iterator[str]:
    """The name of a database on PostgreSQL with the tables that a server makes, to be copied."""
    with postgres.database() as url:
        Database.open(url).close()
        yield str(urls.parse(url).database)


@pytest.fixture
def postgres_url(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    """A database on PostgreSQL of the test's own, as of a server that has done nothing yet."""
    with postgres.database(postgres_template) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database on PostgreSQL, of the test's own."""
    with postgres.database() as url:
        yield url


@contextmanager
def fresh(request: pytest.FixtureRequest, directory: Path) -> Generator[str]:
    """Give the URL of an empty database of the kind that was chosen."""
    if request.config.getoption("--database") == "sqlite":
        yield f"sqlite:///{directory / 'own.db'}"
        return
    found: Postgres = request.getfixturevalue("postgres")
    with found.database() as url:
        yield url


@pytest.fixture(scope="session")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedServer]:
    """The server of all tests without special needs."""
    settings = Settings(randomness=random.Random(1), max_body_bytes=1_000_000)
    with (
        fresh(request, tmp_path_factory.mktemp("server")) as url,
        EmbeddedServer(url, api_key=API_KEY, settings=settings) as found,
    ):
        yield found


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
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of the test's own, as of a server that has done nothing yet."""
    if request.config.getoption("--database") == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    prepare(tmp_path / "own.db")
    return f"sqlite:///{tmp_path / 'own.db'}"


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of the test's own; on SQLite a file that does not exist yet."""
    with fresh(request, tmp_path) as url:
        yield url


@pytest.fixture
def deployed(api: Api, name: str) -> Any:
    """A project whose first config, now active, talks of a topic and completes it."""
    keys = config(endpoint="chat", chat_template=SYSTEM, prompt_template="On {{ topic }}:")
    return api.ok("POST", "/model-configs", {"project": name, **keys})


@pytest.fixture
def own(database_url: str) -> Iterator[Own]:
    """A server whose provider the test scripts, without background work."""
    provider = Scripted()
    settings = Settings(
        providers={"mock": provider}, randomness=random.Random(1), evaluation_workers=0
    )
    with EmbeddedServer(database_url, api_key=API_KEY, settings=settings) as server:
        yield Own(server, provider, database_url)
