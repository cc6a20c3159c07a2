"""One server for each file: who is refused, and that a refused one takes nothing from the other."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from prepared import prepare
from subprocesses import environment

from humanloop.server import EmbeddedServer, StartError
from humanloop.server.store.database import Database

from ..api import API_KEY, Api

pytestmark = pytest.mark.sqlite

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux locks files by descriptor")


def is_refused(path: Path) -> bool:
    """Tell whether a database is said to be in use, when it is opened in this process."""
    try:
        Database.open(f"sqlite:///{path}").close()
    except StartError as error:
        return "in use by another server" in str(error)
    return False


def in_this_program(path: Path) -> bool:
    """Try it here."""
    return is_refused(path)


def in_another_process(path: Path) -> bool:
    """Try it in a fresh process."""
    program = (
        "import sys\n"
        "from humanloop.server.store.database import Database\n"
        "Database.open(f'sqlite:///{sys.argv[1]}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    return done.returncode == 1 and "in use by another server" in done.stderr


def after_a_fork(path: Path) -> bool:
    """Try it in a copy of this process, which has copies of all its descriptors."""
    pid = os.fork()
    if pid == 0:
        os._exit(not is_refused(path))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def copy_elsewhere(path: Path) -> None:
    """Copy the database in another process, which closes it and may think that it is the last."""
    program = (
        "import sqlite3, sys\n"
        "source, target = map(sqlite3.connect, sys.argv[1:])\n"
        "source.backup(target)\n"
        "source.close()\n"
        "target.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, path, f"{path}.copy"], check=True)


def same(path: Path) -> Path:
    """The file's own name."""
    return path


def symbolic(path: Path) -> Path:
    """A symbolic link to the file."""
    link = path.with_name("symbolic.db")
    link.symlink_to(path)
    return link


def hard(path: Path) -> Path:
    """Another name of the file."""
    link = path.with_name("hard.db")
    link.hardlink_to(path)
    return link


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("attempt", [in_this_program, in_another_process, after_a_fork])
@pytest.mark.parametrize("naming", [same, symbolic, pytest.param(hard, marks=linux)])
def test_a_second_server_is_refused_and_no_log_is_lost(
    tmp_path: Path, naming: Callable[[Path], Path], attempt: Callable[[Path], bool]
) -> None:
    path = tmp_path / "own.db"
    prepare(path)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        api = Api(server.url)
        other = naming(path)
        for _ in range(2):
            api.log("p")
            assert attempt(other)
            copy_elsewhere(path)
            # SQLite deletes it when the last connection is closed.
            assert path.with_name("own.db-wal").exists()
            project_id = api.log("p")["project_id"]
        assert api.export(project_id)["total"] == 4
    assert [each.name for each in tmp_path.glob("*-wal")] == []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM logs").fetchall() == [(4,)]
    assert not attempt(other)


def test_a_connection_of_the_program_s_own_keeps_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    Database.open(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as own:
        own.execute("SELECT * FROM logs").fetchall()
        for number in range(2):
            with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
                api = Api(server.url)
                api.log("p")
                copy_elsewhere(path)
                api.log("p")
            copy_elsewhere(path)
            assert own.execute("SELECT count(*) FROM logs").fetchall() == [(2 * number + 2,)]


@linux
def test_descriptors_of_files_that_are_free_are_closed(tmp_path: Path) -> None:
    def open_once(number: int) -> int:
        Database.open(f"sqlite:///{tmp_path / f'{number}.db'}").close()
        found = 0
        for each in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # another thread has closed it
                found += os.readlink(each).startswith(str(tmp_path))
        return found

    assert len({open_once(number) for number in range(3)}) == 1


@linux
def test_a_forked_child_does_not_keep_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    program = (
        "import os, sys, time\n"
        "from humanloop.server.store.database import Database\n"
        "database = Database.open(f'sqlite:///{sys.argv[1]}')\n"
        "if os.fork() == 0:\n"
        "    print('forked', flush=True)\n"
        "    sys.stdin.read()\n"
        "os._exit(0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"forked\n"
    assert process.wait(60) == 0  # the child lives on
    assert not is_refused(path)
    process.communicate()


def test_a_file_that_can_t_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"is a directory"):
        Database.open(f"sqlite:///{tmp_path}")
