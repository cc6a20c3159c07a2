"""`humanloop serve` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from humanloop import cli

from .api import Api


@contextmanager
def serving(tmp_path: Path, *options: str, key: str = "") -> Generator[tuple[str, str]]:
    """Run the command; gives what it prints up to its last line, and the URL in it."""
    environment = {name: text for name, text in os.environ.items() if "HUMANLOOP" not in name}
    environment |= {"HUMANLOOP_API_KEY": key} if key else {}
    environment["PYTHONPATH"] = str(Path(cli.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "humanloop.cli", "serve", "--port", "0", *options],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl+C" in line:
            break
    printed = "".join(lines)
    try:
        url = re.search(r"http://\S+/v4", printed)
        assert url is not None, printed
        yield printed, url[0]
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0, rest
    assert "Stopped." in rest
    assert "Traceback" not in rest


def test_it_prints_all_that_a_newcomer_needs(tmp_path: Path) -> None:
    with serving(tmp_path) as (printed, url):
        found = re.search(r"API key +(hl_\S+)  \(shown only now\)", printed)
        assert found is not None
        assert f"export HUMANLOOP_BASE_URL={url}\n" in printed
        assert f"export HUMANLOOP_API_KEY={found[1]}\n" in printed
        assert "sqlite:///humanloop.db" in printed
        assert Api(url, found[1]).call("GET", "/projects").status == 200
    assert (tmp_path / "humanloop.db").exists()


def test_a_key_from_the_environment_is_used_and_not_printed(tmp_path: Path) -> None:
    with serving(tmp_path, "--verbose", key="from-the-environment") as (printed, url):
        assert "from-the-environment" not in printed
        assert Api(url, "from-the-environment").call("GET", "/projects").status == 200


def test_keys_from_the_command_line_come_first(tmp_path: Path) -> None:
    options = ("--api-key", "one", "--api-key", "two", "--database", "sqlite:///other.db")
    with serving(tmp_path, *options, key="three") as (_, url):
        statuses = [
            Api(url, key).call("GET", "/projects").status for key in ("one", "two", "three")
        ]
    assert statuses == [200, 200, 401]
    assert (tmp_path / "other.db").exists()


def test_a_taken_port_is_one_line_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"humanloop: Port {port} of 127.0.0.1 can't be used: ")
    assert error.count("\n") == 1


def test_an_unwritable_database_is_one_line_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    database = "sqlite:////nowhere/at/all.db"
    assert cli.main(["serve", "--port", "0", "--database", database]) == 1
    assert "humanloop: The database /nowhere/at/all.db can't be opened" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "x", ""])
def test_a_bad_port_is_a_usage_error(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["serve", f"--port={port}"])
    assert caught.value.code == 2
    assert "a port is a number from 0 to 65535" in capsys.readouterr().err


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "usage: humanloop" in capsys.readouterr().err


def test_a_sandbox_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pydantic_monty", reason="the extra `evaluators` is not installed here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert cli.main(["serve", "--port=0", "--sandbox=bwrap"]) == 1
    assert "bubblewrap is not installed: there is no program `bwrap`" in capsys.readouterr().err


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['sqlalchemy'] = None\n"
        "from humanloop import cli\n"
        "sys.exit(cli.main(['serve']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "install the extra `server`: pip install '.[server]' in a clone" in done.stderr
    assert "Traceback" not in done.stderr
