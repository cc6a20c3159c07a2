"""Backups: made beside a running server, checked, put back, and never half there."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from prepared import prepare

from humanloop import cli
from humanloop.server import EmbeddedServer

from ..api import API_KEY, Api

pytestmark = pytest.mark.sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with three datapoints."""
    path = tmp_path / "own.db"
    prepare(path)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        for _ in range(3):
            Api(server.url).log("p")
    return path


def logs(path: Path) -> int:
    """How many datapoints a server finds in a file."""
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        return sum(each["data_count"] for each in Api(server.url).ok("GET", "/projects")["records"])


def names(path: Path) -> set[str]:
    """What is in a directory."""
    return {each.name for each in path.iterdir()}


def run(name: str, file: Path, path: Path) -> int:
    """Run the command on a database."""
    return cli.main([name, str(file), "--database", f"sqlite:///{path}"])


def test_a_backup_brings_the_database_back(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "copy.db"
    assert run("backup", backup, path) == 0
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        Api(server.url).log("p")
    assert logs(path) == 4
    assert run("restore", backup, path) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert logs(path) == 3
    assert run("restore", backup, tmp_path / "new.db") == 0
    assert logs(tmp_path / "new.db") == 3
    assert names(tmp_path) == {f"{n}.db{end}" for n in ("own", "new") for end in ("", ".lock")} | {
        "copy.db"
    }


def test_a_backup_beside_a_server_that_writes_holds_what_was_acknowledged(
    path: Path, tmp_path: Path
) -> None:
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        api, done = Api(server.url), threading.Event()

        def write() -> None:
            while not done.is_set():
                api.log("p")

        writer = threading.Thread(target=write)
        writer.start()
        kept = []
        for number in range(3):
            acknowledged = Api(server.url).ok("GET", "/projects")["records"][0]["data_count"]
            command = [sys.executable, "-m", "humanloop.cli", "backup", f"{tmp_path}/{number}.db"]
            subprocess.run([*command, "--database", f"sqlite:///{path}"], check=True)
            kept.append((tmp_path / f"{number}.db", acknowledged))
        done.set()
        writer.join()
        total = api.ok("GET", "/projects")["records"][0]["data_count"]
    assert all(logs(backup) >= acknowledged for backup, acknowledged in kept)
    assert logs(path) == total


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("backup", "own.db", "There is already a file"),
        ("backup", "nowhere/copy.db", "No file can be created in"),
        ("restore", "own.db", "is the database itself"),
        ("restore", "missing.db", "There is no backup"),
        ("restore", "theirs.db", "is not a database of this server"),
        ("restore", "newer.db", "schema 9999, which is newer than"),
        ("restore", "text.db", "file is not a database"),
        ("restore", "cut.db", "malformed"),
        ("restore", "empty.db", "is not a database of this server"),
    ],
)
def test_what_can_t_be_done_is_one_line_and_changes_nothing(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, file: str, said: str
) -> None:
    data = path.read_bytes()
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as theirs:
        theirs.execute("CREATE TABLE theirs (x)")
    (tmp_path / "newer.db").write_bytes(data)
    with closing(sqlite3.connect(tmp_path / "newer.db", isolation_level=None)) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    (tmp_path / "text.db").write_bytes(b"no database, but long enough to look like one" * 99)
    (tmp_path / "cut.db").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.db").touch()
    before = names(tmp_path)
    for target in (path, tmp_path / "other.db") if name == "restore" else (path,):
        if target != path and said.endswith("itself"):
            continue
        assert run(name, tmp_path / file, target) == 1
        error = capsys.readouterr().err
        assert error.startswith("humanloop: ")
        assert said in error
        assert error.count("\n") == 1
    assert names(tmp_path) - {"own.db.lock", "other.db.lock"} == before - {"own.db.lock"}
    assert path.read_bytes() == data


def test_a_backup_of_what_is_not_there_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("backup", tmp_path / "copy.db", tmp_path / "missing.db") == 1
    assert "There is no database" in capsys.readouterr().err
    assert names(tmp_path) == set()


def test_only_sqlite_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = "postgresql://someone:secret@host/name"
    assert cli.main(["backup", str(tmp_path / "copy.db"), "--database", database]) == 1
    error = capsys.readouterr().err
    assert "for PostgreSQL, use pg_dump" in error
    assert "secret" not in error


def test_nothing_is_restored_under_a_running_server(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = tmp_path / "copy.db"
    run("backup", backup, path)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        Api(server.url).log("p")
        assert run("restore", backup, path) == 1
        Api(server.url).log("p")
    assert "in use by another server" in capsys.readouterr().err
    assert logs(path) == 5


def test_a_damaged_database_and_its_log_are_replaced(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "copy.db"
    run("backup", backup, path)
    path.write_bytes(b"damaged" * 9999)
    for ending in ("-wal", "-shm", "-journal"):
        (tmp_path / f"own.db{ending}").write_bytes(b"left over" * 9999)
    assert run("restore", backup, path) == 0
    assert logs(path) == 3


def test_without_room_there_is_one_clear_line_and_no_copy(path: Path, tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "from humanloop import cli\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    before = names(tmp_path)
    command = [sys.executable, "-c", program, "backup", tmp_path / "copy.db"]
    done = subprocess.run(
        [*command, "--database", f"sqlite:///{path}"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("humanloop: ")
    assert done.stderr.count("\n") == 1
    assert names(tmp_path) == before
