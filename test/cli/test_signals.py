"""Ctrl+C and SIGTERM never give a traceback, at whatever moment they come.

The moments are not times but events: a process signals itself when it imports a module, opens a
database, renames a file.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from .processes import COMMAND, SECONDS, environment, read_until, run, serving

# Sends itself signals when an audit event comes whose first argument ends with a text.
PROGRAM = """
import os, sys
number, times, event, text = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
left = times

def watch(name, arguments):
    global left
    # Python 3.10 gives paths to sqlite3's events as bytes.
    if left and name == event and arguments and str(arguments[0]).rstrip("'").endswith(text):
        left -= 1
        os.kill(os.getpid(), number)

sys.argv[:5] = ["humanloop"]
sys.addaudithook(watch)
from humanloop.cli import main
code = main()
assert left < times or code, "the event never came"
sys.exit(code)
"""
IMPORTS = ("argparse", "humanloop.server.errors", "sqlalchemy")
SERVE_IMPORTS = (*IMPORTS, "uvicorn", "alembic")


def interrupted(
    number: int, times: int, event: str, text: str, *arguments: str, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command that is signalled when something happens."""
    command = [COMMAND[0], "-c", PROGRAM, str(int(number)), str(times), event, text]
    return run(*arguments, cwd=cwd, command=command)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of which the server has stopped."""
    folder = tmp_path_factory.mktemp("database")
    with serving(folder):
        pass
    return folder


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)]
)
@pytest.mark.parametrize("module", SERVE_IMPORTS)
def test_serve_while_it_imports(module: str, times: int, number: int, tmp_path: Path) -> None:
    done = interrupted(number, times, "import", module, "serve", "--port", "0", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode in {128 + number, -number}
    assert times == 2 or done.returncode == 128 + number


@pytest.mark.parametrize("module", IMPORTS)
@pytest.mark.parametrize("command", ["projects", "tail"])
def test_others_while_they_import(command: str, module: str, database: Path) -> None:
    done = interrupted(signal.SIGINT, 1, "import", module, *command.split(), cwd=database)
    assert done.returncode == 130
    assert done.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_text_is_run(number: int, database: Path) -> None:
    """As a namedtuple is made by one; `python -m` looks at how such a text ended."""
    (database / "watched.py").write_text(
        f"""
import os, sys

def watch(frame, event, argument):
    if event == "call" and frame.f_code.co_filename == "<string>":
        sys.setprofile(None)
        os.kill(os.getpid(), {int(number)})

sys.setprofile(watch)
from humanloop.cli import main
sys.exit(main())
"""
    )
    done = run("projects", cwd=database, command=[*COMMAND[:2], "watched"])
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("event", "text"),
    [("sqlite3.connect", ".lock"), ("sqlite3.connect", "humanloop.db"), ("socket.bind", "")],
)
def test_serve_while_it_starts(event: str, text: str, number: int, tmp_path: Path) -> None:
    """The database is left such that the next start goes on."""
    done = interrupted(number, 1, event, text, "serve", "--port", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")
    with serving(tmp_path):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("event", ["os.rename", "sqlite3.connect", "tempfile.mkstemp"])
def test_a_backup_leaves_nothing_half_done(event: str, number: int, database: Path) -> None:
    done = interrupted(number, 1, event, "", "backup", "copy.db", cwd=database)
    assert (done.returncode, done.stderr) == (128 + number, "")
    assert not list(database.glob("*.partial"))
    (database / "copy.db").unlink(missing_ok=True)  # when it came after the renaming


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_quickstart_leaves_nothing(number: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "quickstart"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path), PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    read_until(process, ">>>")
    process.send_signal(number)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (128 + number, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tail_while_it_waits(number: int, database: Path) -> None:
    with serving(database) as server:
        process = subprocess.Popen(
            [*COMMAND, "tail", "--json"],
            cwd=database,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _log(server.url, database)
        assert process.stdout is not None
        assert '"output":"Hi!"' in process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (128 + number, "")


def _log(url: str, folder: Path) -> None:
    from server.api import Api

    key = (folder / "humanloop.db.key").read_text().strip()
    body = {"project": "p", "config": {"model": "gpt-4"}, "output": "Hi!"}
    Api(url, key).ok("POST", "/logs", body)


def test_interrupts_that_are_ignored_stay_so(tmp_path: Path) -> None:
    """As for what a shell starts in the background."""
    command = [
        COMMAND[0],
        "-c",
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + PROGRAM,
        *(str(int(signal.SIGINT)), "1", "import", "argparse"),
    ]
    assert run("version", cwd=tmp_path, command=command).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_when_all_is_done(number: int, tmp_path: Path) -> None:
    program = (
        "import atexit, os, sys\n"
        f"atexit.register(os.kill, os.getpid(), {int(number)})\n"
        "from humanloop.cli import main\n"
        "sys.exit(main())\n"
    )
    done = run("version", cwd=tmp_path, command=[COMMAND[0], "-c", program])
    assert (done.returncode, done.stderr) == (-number, "")
    assert done.stdout.startswith("humanloop ")


def test_main_leaves_the_signals_of_a_program_that_calls_it() -> None:
    from humanloop.cli import main

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["version"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
