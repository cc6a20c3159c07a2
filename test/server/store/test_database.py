"""The database file: its schema's history, its backup, its lock, and what a restart finds."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from prepared import prepare

from humanloop.server import EmbeddedServer, StartError, create_app
from humanloop.server.store import migrate
from humanloop.server.store.database import Database

from ..api import API_KEY, Api

pytestmark = pytest.mark.sqlite

NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "0005"


def upgrade():
    with op.batch_alter_table("projects", recreate="always") as batch:
        batch.add_column(sa.Column("colour", sa.Text(), server_default="red"))
    {more}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's database is."""
    return tmp_path / "own.db"


@pytest.fixture
def filled(path: Path) -> Path:
    """A database with a datapoint."""
    prepare(path)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        Api(server.url).log("p", feedback={"type": "rating", "value": "good"})
    return path


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    """What a statement finds in a database file."""
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_a_fresh_database_has_the_newest_schema_and_no_backup(path: Path) -> None:
    Database.open(f"sqlite:///{path}").close()
    assert query(path, "SELECT version_num FROM alembic_version") == [("0005",)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert list(path.parent.glob("*backup*")) == []


def test_the_file_is_its_owner_s_alone(path: Path) -> None:
    Database.open(f"sqlite:///{path}").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_restart_finds_everything(filled: Path) -> None:
    with EmbeddedServer(f"sqlite:///{filled}", api_key=API_KEY) as server:
        api = Api(server.url)
        [project] = api.ok("GET", "/projects")["records"]
        assert project["data_count"] == 1
        assert project["users"][0]["email_address"] == "user1@localhost"
        api.ok("POST", "/projects", {"name": "q"})
        assert len({each["team_id"] for each in api.ok("GET", "/projects")["records"]}) == 1
    assert query(filled, "SELECT count(*) FROM users") == [(1,)]
    assert list(filled.parent.glob("*backup*")) == []


def test_a_key_that_is_not_given_again_is_not_valid(filled: Path) -> None:
    with EmbeddedServer(f"sqlite:///{filled}", api_key="another") as server:
        assert Api(server.url).call("GET", "/projects").status == 401
        other = Api(server.url, "another")
        other.ok("POST", "/projects", {"name": "q"})
        [newest, oldest] = other.ok("GET", "/projects")["records"]
        assert newest["users"] != oldest["users"]
        assert newest["team_id"] == oldest["team_id"]


class TestMigration:
    """From one revision to the next, with scripts of which the test adds one."""

    @pytest.fixture
    def scripts(self, tmp_path: Path) -> Path:
        """A copy of the migrations."""
        copy = tmp_path / "100% migrations"
        shutil.copytree(migrate.SCRIPTS, copy, ignore=shutil.ignore_patterns("__pycache__"))
        return copy

    def test_an_older_database_is_backed_up_and_migrated(self, filled: Path, scripts: Path) -> None:
        (scripts / "versions" / "next.py").write_text(NEXT_REVISION.format(more=""))
        for _ in range(2):
            Database.open(f"sqlite:///{filled}", scripts=scripts).close()
        assert query(filled, "SELECT name, colour FROM projects") == [("p", "red")]
        assert query(filled, "SELECT count(*) FROM logs") == [(1,)]
        [backup] = filled.parent.glob("own.db.backup-*")
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        with EmbeddedServer(f"sqlite:///{backup}", api_key=API_KEY) as server:
            assert Api(server.url).ok("GET", "/projects")["records"][0]["data_count"] == 1

    @pytest.mark.parametrize(
        "more",
        ['raise RuntimeError("half-way")', 'op.execute("DELETE FROM projects")'],
    )
    def test_a_migration_that_fails_changes_nothing(
        self, filled: Path, scripts: Path, more: str
    ) -> None:
        (scripts / "versions" / "next.py").write_text(NEXT_REVISION.format(more=more))
        before = query(filled, "SELECT sql FROM sqlite_master ORDER BY name")
        with pytest.raises(RuntimeError, match=r"half-way|dangling reference"):
            Database.open(f"sqlite:///{filled}", scripts=scripts)
        assert query(filled, "SELECT sql FROM sqlite_master ORDER BY name") == before
        assert query(filled, "SELECT name FROM projects") == [("p",)]
        Database.open(f"sqlite:///{filled}").close()

    def test_failed_upgrades_leave_one_whole_backup(self, filled: Path, scripts: Path) -> None:
        (scripts / "versions" / "next.py").write_text(
            NEXT_REVISION.format(more='raise RuntimeError("half-way")')
        )
        for _ in range(3):
            filled.with_name("own.db.backup-0005.interrupted.partial").touch()
            with pytest.raises(RuntimeError, match="half-way"):
                Database.open(f"sqlite:///{filled}", scripts=scripts)
            [backup] = filled.parent.glob("*backup*")
            assert query(backup, "SELECT count(*) FROM logs") == [(1,)]

    def test_no_room_for_a_backup_is_one_clear_line(
        self, filled: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (scripts / "versions" / "next.py").write_text(NEXT_REVISION.format(more=""))
        before = set(filled.parent.iterdir())

        def full(_file: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            with pytest.raises(StartError, match=r"not enough space in \S+ for a copy of \S+ \(0"):
                Database.open(f"sqlite:///{filled}", scripts=scripts)
        assert set(filled.parent.iterdir()) == before
        Database.open(f"sqlite:///{filled}").close()

    def test_a_newer_database_is_refused_and_left_alone(self, filled: Path, scripts: Path) -> None:
        (scripts / "versions" / "next.py").write_text(NEXT_REVISION.format(more=""))
        Database.open(f"sqlite:///{filled}", scripts=scripts).close()
        before = set(filled.parent.iterdir())
        with pytest.raises(StartError, match="schema next, which is newer than this version"):
            Database.open(f"sqlite:///{filled}")
        assert query(filled, "SELECT colour FROM projects") == [("red",)]
        assert set(filled.parent.iterdir()) == before


def test_a_file_of_another_program_is_refused(path: Path) -> None:
    query(path, "CREATE TABLE theirs (x)")
    with pytest.raises(StartError, match="tables that are not humanloop's"):
        Database.open(f"sqlite:///{path}")
    assert query(path, "SELECT name FROM sqlite_master") == [("theirs",)]


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"this is not a database, but long enough to look like one" * 20)
    with pytest.raises(StartError, match="file is not a database"):
        Database.open(f"sqlite:///{path}")


def test_one_server_per_file(path: Path) -> None:
    url = f"sqlite:///{path}"
    with (
        EmbeddedServer(url, api_key=API_KEY) as server,
        pytest.raises(StartError, match="in use by another server"),
    ):
        EmbeddedServer(url).start()
    assert server.url
    with EmbeddedServer(url, api_key=API_KEY) as server:
        assert Api(server.url).call("GET", "/projects").status == 200


def test_another_name_of_a_file_that_is_in_use_is_refused(path: Path) -> None:
    database = Database.open(f"sqlite:///{path}")
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(StartError, match="in use by another server"):
        Database.open(f"sqlite:///{link}")
    database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:humanloop.db", "must be a file such as humanloop.db, or a URL such as"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite:///file:x.db?mode=memory&uri=true", "must be a file"),
        ("sqlite:////nowhere/at/all.db", "No such file or directory"),
        ("sqlite:///x.db?timeout=soon", "option .* can't be used: .*'soon'"),
        ("sqlite+other:///x.db", "or a URL such as"),
        ("mysql://user:secret@host/name", "or a URL such as"),
        ("postgresql://user:secret@host:port/name", "or a URL such as"),
    ],
)
def test_a_bad_url_is_refused_without_repeating_it(
    url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartError, match=said) as caught:
        create_app(url, [API_KEY])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("keys", [[], [""], ["has space"], ["schl\u00fcssel"], ["line\n"]])
def test_keys_must_fit_into_a_header(path: Path, keys: list[str]) -> None:
    with pytest.raises(StartError, match="API key"):
        create_app(f"sqlite:///{path}", keys)
    Database.open(f"sqlite:///{path}").close()
