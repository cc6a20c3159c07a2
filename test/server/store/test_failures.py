"""A database that fails while the server runs: damaged, or with no room left."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection

from humanloop.server import EmbeddedServer

from ..api import API_KEY, Api
from ..databases import listening, statements

pytestmark = pytest.mark.sqlite


def one_line(caplog: pytest.LogCaptureFixture) -> str:
    """The only line that was logged as a warning or worse."""
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.exc_info is None
    assert "\n" not in record.getMessage()
    return record.getMessage()


class TestDamaged:
    """A file of which a page holds something else."""

    @pytest.fixture
    def damaged(self, tmp_path: Path) -> tuple[str, str]:
        """The URL of a database whose table of logs is overwritten, and the id of their project."""
        path = tmp_path / "own.db"
        url = f"sqlite:///{path}"
        with EmbeddedServer(url, api_key=API_KEY) as server:
            api = Api(server.url)
            for _ in range(20):
                project_id: str = api.log("p", output="x" * 2000)["project_id"]
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            [(size,)] = connection.execute("PRAGMA page_size")
            [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'logs'")
        with path.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xa5" * size)
        return url, project_id

    def test_it_is_read_where_that_is_possible_and_written_no_more(
        self, damaged: tuple[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        url, project_id = damaged
        with EmbeddedServer(url, api_key=API_KEY) as server:
            api = Api(server.url)
            assert api.call("POST", "/sessions").status == 201  # nothing has told yet
            answer = api.call("POST", f"/projects/{project_id}/export")
            assert answer.status == 503
            assert "damaged" in answer.body["detail"]
            for _ in range(3):
                refused = api.call("POST", "/sessions")
                assert refused.status == 503
                assert "restored from a backup" in refused.body["detail"]
            assert api.call("GET", f"/projects/{project_id}/deployed-configs").status == 200
        assert "database disk image is malformed" in one_line(caplog)

    def test_a_write_tells_as_well(self, damaged: tuple[str, str]) -> None:
        with EmbeddedServer(damaged[0], api_key=API_KEY) as server:
            api = Api(server.url)
            body = {"project": "p", "config": {"model": "m"}}
            assert api.call("POST", "/logs", body).status == 503
            assert api.call("POST", "/sessions").status == 503


def test_a_start_and_an_end_without_work_write_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """So that a full disk can be read from."""
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        Api(server.url).ok("POST", "/projects", {"name": "p"})
    with statements(database_url) as sent, EmbeddedServer(database_url, api_key=API_KEY) as server:
        assert Api(server.url).ok("GET", "/projects")["total"] == 1
    assert sent
    assert not [each for each, _ in sent if each.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_no_room_is_503_and_one_line_in_the_log(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedServer(database_url, api_key=API_KEY):
        pass
    body = {"project": "p", "config": {"model": "m"}, "output": "x" * 1_000_000}

    def limit(connection: Connection) -> None:
        driver = cast("sqlite3.Connection", connection.connection.dbapi_connection)
        driver.execute("PRAGMA max_page_count = 100")

    with (
        listening(database_url, "engine_connect", limit),
        EmbeddedServer(database_url, api_key=API_KEY) as server,
    ):
        api = Api(server.url)
        for _ in range(3):
            answer = api.call("POST", "/logs", body)
            assert answer.status == 503
            assert answer.body == {"detail": "The disk is full: nothing can be written."}
        api.ok("POST", "/projects", {"name": "small enough"})
        assert api.ok("GET", "/projects")["total"] == 1
    assert "database or disk is full" in one_line(caplog)
