"""The commands that read a database beside the server that has it: projects, tail, doctor."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server.api import API_KEY, Api

from humanloop import cli
from humanloop.server import EmbeddedServer

from .processes import COMMAND, SECONDS, environment, json_lines, run, serving

CONFIG = {"model": "gpt-4"}
Examine = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with a server on it."""
    path = str(tmp_path_factory.mktemp("reading") / "own.db")
    with EmbeddedServer(path, api_key=API_KEY) as server:
        api = Api(server.url)
        api.ok("POST", "/projects", {"name": "empty"})
        for number in range(12):
            log = {"project": "first", "config": CONFIG, "output": f"Answer\n{number}\x1b[31m"}
            api.ok("POST", "/logs", {**log, "duration": 0.5})
        api.ok("POST", "/logs", {"project": "second", "config": {"model": "m"}, "error": "boom"})
        yield path


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a command prints that ends well."""
    assert cli.main(arguments) == 0
    return capsys.readouterr().out


class TestProjects:
    def test_is_a_table(self, database: str, capsys: pytest.CaptureFixture[str]) -> None:
        lines = call(capsys, "projects", "--database", database).splitlines()
        assert [line.split()[0] for line in lines] == ["NAME", "second", "first", "empty"]
        assert lines[2].split()[2:5] == ["12", "1", "gpt-4"]
        assert lines[3].split()[2:] == ["0", "0", "-", "-"]

    def test_is_json(self, database: str, capsys: pytest.CaptureFixture[str]) -> None:
        second, first, empty = json.loads(
            call(capsys, "projects", "--json", "--database", database)
        )
        assert (first["name"], first["logs"], first["configs"]) == ("first", 12, 1)
        assert (second["active"], second["active_kind"]) == ("m", "config")
        assert second["last_log_at"].endswith("Z")
        assert empty["active"] is empty["last_log_at"] is None

    def test_without_a_database_is_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for command in ("projects", "tail"):
            assert cli.main([command, "--database", str(tmp_path / "none.db")]) == 1
            assert (
                capsys.readouterr().err == f"humanloop: There is no database {tmp_path}/none.db.\n"
            )
        assert list(tmp_path.iterdir()) == []


class TestTail:
    def test_prints_a_line_each(self, database: str, capsys: pytest.CaptureFixture[str]) -> None:
        lines = call(capsys, "tail", "-n", "3", "--no-follow", "--database", database).splitlines()
        assert len(lines) == 3
        assert lines[0].endswith("  first  gpt-4  0.50 s  Answer 10\\x1b[31m")
        assert lines[2].endswith("  second  m  error: boom")

    def test_of_one_project(self, database: str, capsys: pytest.CaptureFixture[str]) -> None:
        options = ("--json", "--no-follow", "--database", database)
        logs = json_lines(call(capsys, "tail", "first", *options))
        assert [log["output"] for log in logs] == [f"Answer\n{n}\x1b[31m" for n in range(2, 12)]
        project_id = logs[0]["project_id"]
        again = call(capsys, "tail", project_id, "-n", "1", *options)
        assert json_lines(again) == logs[-1:]

    def test_of_none(self, database: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["tail", "third", "--database", database]) == 1
        assert capsys.readouterr().err == "humanloop: There is no project 'third'.\n"
        assert call(capsys, "tail", "-n", "0", "--no-follow", "--database", database) == ""

    def test_follows(self, tmp_path: Path) -> None:
        """Single logs and a large array, each once, though they are written beside each other."""
        with serving(tmp_path, "--api-key", "key") as server:
            api = Api(server.url, "key")
            api.ok("POST", "/logs", {"project": "p", "config": CONFIG, "output": "before"})
            process = subprocess.Popen(
                [*COMMAND, "tail", "--json"],
                cwd=tmp_path,
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            outputs = [json.loads(process.stdout.readline())["output"]]
            api.ok(
                "POST",
                "/logs",
                [{"project": "q", "config": CONFIG, "output": str(n)} for n in range(600)],
            )
            api.ok("POST", "/logs", {"project": "p", "config": CONFIG, "output": "after"})
            outputs += [json.loads(process.stdout.readline())["output"] for _ in range(601)]
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=SECONDS)
        assert sorted(outputs) == sorted(["before", *map(str, range(600)), "after"])
        assert (process.returncode, rest) == (130, "")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of which the server has stopped."""
    path = tmp_path_factory.mktemp("doctor")
    with serving(path):
        pass
    return path


class TestDoctor:
    """Beside a server it is a process of its own, which looks from outside."""

    @pytest.fixture
    def folder(self, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A copy of it, in which commands run."""
        shutil.copytree(served, tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        for name in environment().keys() ^ os.environ.keys():
            monkeypatch.delenv(name, raising=False)
        return tmp_path

    @pytest.fixture
    def examine(self, capsys: pytest.CaptureFixture[str]) -> Examine:
        """Runs it in this process."""

        def run_here(*options: str) -> tuple[int, dict[str, Any]]:
            code = cli.main(["doctor", "--json", "--port", "1", *options])
            printed = capsys.readouterr()
            assert printed.err == ""
            return code, self.checks(code, printed.out)

        return run_here

    def checks(self, code: int, printed: str) -> dict[str, Any]:
        told = json.loads(printed)
        assert told["ok"] == (code == 0)
        return {check["check"]: check for check in told["checks"]}

    def test_all_is_well(self, folder: Path) -> None:
        with serving(folder, "--host", "127.0.0.1") as server:
            port = server.url.split(":")[2].partition("/")[0]
            done = run("doctor", "--json", "--port", port, cwd=folder)
            found = self.checks(done.returncode, done.stdout)
            assert f"used by the server process {server.process.pid}" in found["database"]["text"]
        assert (done.returncode, done.stderr) == (0, "")
        assert {check["state"] for check in found.values()} == {"ok"}
        assert set(found) == {
            *("version", "extras", "environment", "database", "schema", "content", "integrity"),
            *("disk", "key", "server"),
        }

    def test_prints_a_line_each(self, folder: Path) -> None:
        done = run("doctor", "--port", "1", cwd=folder)
        assert done.returncode == 0
        assert all(line[:6].strip() in {"ok", "note"} for line in done.stdout.splitlines())
        assert "used by no server" in done.stdout

    def test_before_the_first_start(
        self, folder: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "empty").mkdir()
        monkeypatch.chdir(folder / "empty")
        code, found = examine()
        assert (code, found["database"]["state"], found["server"]["state"]) == (0, "note", "note")
        assert list((folder / "empty").iterdir()) == []

    def test_a_damaged_file(self, folder: Path, examine: Examine) -> None:
        file = folder / "humanloop.db"
        with file.open("r+b") as stream:
            stream.seek(4096 * 5)
            stream.write(b"x" * 4096 * 20)
        code, found = examine()
        assert code == 1
        damaged = found.get("integrity", found["database"])
        assert damaged["state"] == "wrong"

    def test_no_database_at_all(self, folder: Path, examine: Examine) -> None:
        (folder / "humanloop.db").write_bytes(b"no database" * 1000)
        code, found = examine()
        assert (code, found["database"]["state"]) == (1, "wrong")
        assert "not a database" in found["database"]["text"]

    def test_another_schema(self, folder: Path, examine: Examine) -> None:
        import sqlite3

        with sqlite3.connect(folder / "humanloop.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'future'")
        connection.close()
        code, found = examine()
        assert (code, found["database"]["state"]) == (1, "wrong")
        assert "newer than this version" in found["database"]["text"]

    def test_a_key_that_others_can_read(self, folder: Path, examine: Examine) -> None:
        key = folder / "humanloop.db.key"
        key.chmod(0o640)
        code, found = examine()
        assert (code, found["key"]["state"]) == (1, "wrong")
        assert f"chmod 600 {key}" in found["key"]["advice"]
        assert key.read_text().strip() not in json.dumps(found)

    def test_a_server_that_is_not_well(self, folder: Path, examine: Examine) -> None:
        import http.server
        import threading

        class Other(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Other) as other:
            thread = threading.Thread(target=other.handle_request)
            thread.start()
            code, found = examine("--port", str(other.server_port))
            thread.join()
        assert (code, found["server"]["state"]) == (1, "wrong")
        assert "Another program" in found["server"]["text"]

    @pytest.mark.usefixtures("folder")
    def test_variables_without_their_values(
        self, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUMANLOOP_API_KEY", "hl_secret-1")
        monkeypatch.setenv("HUMANLOOP_APIKEY", "hl_secret-2")
        code, found = examine()
        assert code == 0
        assert found["environment"]["state"] == "note"
        assert "did you mean 'HUMANLOOP_API_KEY'?" in found["environment"]["text"]
        assert "secret" not in json.dumps(found)

    @pytest.mark.usefixtures("folder")
    def test_a_password_is_not_shown(self, examine: Examine) -> None:
        code, found = examine("--database", "postgresql://u:secret@127.0.0.1:1/x")
        assert code == 1
        assert "secret" not in json.dumps(found)

    def test_changes_nothing(self, folder: Path) -> None:
        copy = folder / "copy"
        copy.mkdir()
        shutil.copy(folder / "humanloop.db", copy)
        before = (copy / "humanloop.db").read_bytes()
        done = run("doctor", "--port", "1", cwd=copy)
        assert done.returncode == 0
        assert (copy / "humanloop.db").read_bytes() == before


def test_summaries_as_json(served: Path, tmp_path: Path) -> None:
    shutil.copytree(served, tmp_path, dirs_exist_ok=True)
    done = run("backup", "copy.db", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == {
        "database": str(tmp_path / "humanloop.db"),
        "backup": str(tmp_path / "copy.db"),
        "bytes": os.path.getsize(tmp_path / "copy.db"),
    }
    done = run("restore", "copy.db", "--database", "new.db", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["database"] == str(tmp_path / "new.db")
    assert not (tmp_path / "new.db.key").exists()
    (tmp_path / "old.py").write_text("import humanloop.rest\n")
    done = run("check-migration", "old.py", "--json", cwd=tmp_path)
    [found] = json_lines(done.stdout)
    assert (done.returncode, found["file"], found["line"]) == (1, "old.py", 1)
