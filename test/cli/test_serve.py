"""`humanloop serve` as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3
from server.api import Api
from server.databases import wait_for

from humanloop import cli
from humanloop.server.store import key_file

from .processes import COMMAND, run, serving


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_prints_all_that_a_newcomer_needs(tmp_path: Path) -> None:
    with serving(tmp_path, first=True) as server:
        assert f"export HUMANLOOP_BASE_URL={server.url}\n" in server.printed
        assert "sqlite:///humanloop.db" in server.printed
        assert "Warning" not in server.printed
        [line] = re.findall(r"^ *(export HUMANLOOP_API_KEY=.*)$", server.printed, re.M)
        key = subprocess.check_output(["sh", "-c", f'{line}; printf %s "$HUMANLOOP_API_KEY"'])
        assert Api(server.url, key.decode()).call("GET", "/projects").status == 200
    assert (tmp_path / "humanloop.db").exists()


class TestKeptKey:
    """The key that the first start makes."""

    def test_stays_valid(self, tmp_path: Path) -> None:
        file = tmp_path / "humanloop.db.key"
        with serving(tmp_path) as server:
            key = file.read_text().strip()
            assert mode_of(file) == 0o600
            assert key not in server.printed
            user = Api(server.url, key).ok("POST", "/projects", {"name": "p"})["users"]
        with serving(tmp_path) as server:
            [project] = Api(server.url, key).ok("GET", "/projects")["records"]
            assert project["users"] == user
            assert key not in server.printed
        assert file.read_text().strip() == key

    def test_is_private_from_its_first_moment(self, tmp_path: Path) -> None:
        modes: list[int] = []

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and str(arguments[0]).endswith(".key"):
                flags = arguments[2]
                assert isinstance(flags, int)
                modes.append(flags & (os.O_CREAT | os.O_EXCL))

        sys.addaudithook(watch)
        before = os.umask(0)
        try:
            key_file.keep(tmp_path / "x.key", "hl_key")
        finally:
            os.umask(before)
        assert mode_of(tmp_path / "x.key") == 0o600
        assert modes == [os.O_CREAT | os.O_EXCL]
        with pytest.raises(FileExistsError):
            key_file.keep(tmp_path / "x.key", "hl_other")

    def test_is_beside_the_database_by_whatever_name(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "link.db").symlink_to(tmp_path / "data" / "real.db")
        with serving(tmp_path, "--database", "link.db"):
            assert (tmp_path / "data" / "real.db.key").exists()

    def test_gives_way_to_given_ones(self, tmp_path: Path) -> None:
        file = tmp_path / "humanloop.db.key"
        with serving(tmp_path, "--api-key", "given"):
            assert not file.exists()
        with serving(tmp_path):
            key = file.read_text().strip()
        with serving(tmp_path, HUMANLOOP_API_KEY="given") as server:
            statuses = [
                Api(server.url, each).call("GET", "/projects").status for each in (key, "given")
            ]
        assert statuses == [401, 200]

    def test_is_made_private_again(self, tmp_path: Path) -> None:
        file = tmp_path / "humanloop.db.key"
        file.write_text("hl_written-by-hand\n")
        file.chmod(0o644)
        with serving(tmp_path) as server:
            assert server.printed.count("Others could read the key file") == 1
            assert mode_of(file) == 0o600
            assert Api(server.url, "hl_written-by-hand").call("GET", "/projects").status == 200

    @pytest.mark.parametrize("text", ["", "two words", "not ASCII: é", "\n\n"])
    def test_must_be_a_key(
        self,
        text: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("HUMANLOOP_API_KEY", raising=False)
        (tmp_path / "humanloop.db.key").write_text(text)
        (tmp_path / "humanloop.db.key").chmod(0o600)
        assert cli.main(["serve", "--port", "0"]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert re.fullmatch(
            r"humanloop: The file .*humanloop\.db\.key holds no key\. .*\n", printed.err
        )
        assert not (tmp_path / "humanloop.db").exists()

    @pytest.mark.skipif(
        os.name != "posix" or os.geteuid() != 0, reason="only root gives files away"
    )
    def test_must_not_be_anothers(self, tmp_path: Path) -> None:
        file = tmp_path / "humanloop.db.key"
        file.write_text("hl_laid-there-by-somebody")
        os.chown(file, 12345, 12345)
        done = run("serve", "--port", "0", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert "belongs to another user" in done.stderr

    def test_is_not_left_by_a_start_that_failed(self, tmp_path: Path) -> None:
        (tmp_path / "humanloop.db").write_text("no database, and long enough to be looked at" * 30)
        assert run("serve", "--port", "0", cwd=tmp_path).returncode == 1
        assert not (tmp_path / "humanloop.db.key").exists()

    def test_is_where_a_401_says(self, tmp_path: Path) -> None:
        with serving(tmp_path) as server:
            answers = [Api(server.url, key).call("GET", "/projects") for key in (None, "wrong")]
        for answer in answers:
            assert answer.status == 401
            assert "The key is in the file humanloop.db.key" in answer.body["detail"]
            assert str(tmp_path) not in answer.text


def test_a_401_says_so_if_the_keys_were_given(tmp_path: Path) -> None:
    with serving(tmp_path, "--api-key", "given") as server:
        detail = Api(server.url, "wrong").call("GET", "/projects").body["detail"]
    assert detail.endswith("The keys are those that the server was started with.")


def test_a_key_from_the_environment_is_used_and_not_printed(tmp_path: Path) -> None:
    key = "from-the-environment"
    with serving(tmp_path, "--verbose", HUMANLOOP_API_KEY=key) as server:
        assert key not in server.printed
        assert Api(server.url, key).call("GET", "/projects").status == 200


def test_keys_from_the_command_line_come_first(tmp_path: Path) -> None:
    options = ("--api-key", "one", "--api-key", "two", "--database", "sqlite:///other.db")
    with serving(tmp_path, *options, HUMANLOOP_API_KEY="three") as server:
        statuses = [
            Api(server.url, key).call("GET", "/projects").status for key in ("one", "two", "three")
        ]
    assert statuses == [200, 200, 401]
    assert (tmp_path / "other.db").exists()


def test_the_database_may_be_a_path(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with serving(tmp_path, "--database", "./x/a b%20#?.db"):
        assert (tmp_path / "x" / "a b%20#?.db").exists()
    with serving(tmp_path, HUMANLOOP_DATABASE="from-the-environment.db"):
        assert (tmp_path / "from-the-environment.db").exists()


def test_json_is_one_object(tmp_path: Path) -> None:
    with serving(tmp_path, "--json") as server:
        told = json.loads(server.printed)
        assert told["url"] == server.url
        assert told["key_file"] == str(tmp_path / "humanloop.db.key")
        assert told["api_key"] is None
        assert told["database"] == "sqlite:///humanloop.db"
        assert told["elsewhere"] == []
        assert server.stop() == (0, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0"])
def test_all_addresses_are_told_by_ones_that_can_be_used(host: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--host", host, "--api-key", "key") as server:
        assert re.match(r"http://(127\.0\.0\.1|\[::1\]):\d+/v4$", server.url)
        assert Api(server.url, "key").call("GET", "/projects").status == 200
        elsewhere = re.search(r"(http://\S+/v4), from other machines", server.printed)
        assert elsewhere is not None
        assert "0.0.0.0" not in elsewhere[1]
        assert "[::]" not in elsewhere[1]
        assert server.printed.count("Warning: other machines can reach it") == 1


class TestStop:
    """The end of the server."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_is_clean(self, number: int, tmp_path: Path) -> None:
        with serving(tmp_path) as server:
            assert server.stop(number) == (0, "\nStopped.\n")
        left = {path.name for path in tmp_path.iterdir()}
        assert not {"humanloop.db-wal", "humanloop.db-shm"} & left  # so it was closed

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_finishes_what_is_being_answered(self, number: int, tmp_path: Path) -> None:
        with serving(tmp_path, "--api-key", "key", "--verbose") as server:
            answer = _ask_slowly(server.url)
            _wait_until_kept(server.url)
            assert server.stop(number)[0] == 0
            status, body = answer.result()
        assert status == 200, body
        assert json.loads(body)["data"][0]["output"] == "a b c"

    def test_is_at_once_when_asked_twice(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--api-key", "key") as server:
            _ask_slowly(server.url, delay=10)
            _wait_until_kept(server.url)
            server.process.send_signal(signal.SIGINT)
            _wait_until_refused(server.url)
            code, rest = server.stop(signal.SIGINT)
        assert code == 130
        assert "Traceback" not in rest

    def test_is_quiet_beside_a_body_that_does_not_end(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--api-key", "key") as server:
            parts = urllib3.util.parse_url(server.url)
            with socket.create_connection((parts.host or "", parts.port or 0)) as half:
                half.sendall(
                    b"POST /v4/logs HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: key\r\n"
                    b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n"
                )
                assert half.recv(12) == b"HTTP/1.1 100"  # it reads the body now
                code, rest = server.stop(signal.SIGTERM)
                answer = half.makefile("rb").read()
        assert code == 0
        assert "Traceback" not in rest
        assert rest.endswith("\nStopped.\n")
        assert b"HTTP/1.1 503" in answer


def _ask_slowly(url: str, delay: float = 0.5) -> Future[tuple[int, str]]:
    """Begin a chat whose answer takes a while, in a thread."""
    body = {
        "project": "slow",
        "model_config": {
            "provider": "mock",
            "model": "any",
            "other": {"output": "a b c", "delay": delay},
        },
        "messages": [{"role": "user", "content": "?"}],
    }
    executor = ThreadPoolExecutor(1)

    def ask() -> tuple[int, str]:
        try:
            answer = Api(url, "key").call("POST", "/chat", body)
        except urllib3.exceptions.HTTPError as error:
            return 0, str(error)
        return answer.status, answer.text

    answer = executor.submit(ask)
    executor.shutdown(wait=False)
    return answer


def _wait_until_kept(url: str) -> None:
    """Wait until the log of the chat is there, which it is before the provider is asked."""
    api = Api(url, "key")
    wait_for(lambda: any(each["data_count"] for each in api.ok("GET", "/projects")["records"]))


def _wait_until_refused(url: str) -> None:
    parts = urllib3.util.parse_url(url)
    while True:
        try:
            socket.create_connection((parts.host or "", parts.port or 0)).close()
        except ConnectionError:
            return


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
    assert "expected a port from 0 to 65535" in capsys.readouterr().err


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['sqlalchemy'] = None\n"
        "from humanloop import cli\n"
        "sys.exit(cli.main(['serve']))\n"
    )
    done = run(cwd=tmp_path, command=[COMMAND[0], "-c", program])
    assert done.returncode == 1
    assert "install the extra `server`: pip install '.[server]' in a clone" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sandbox_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pydantic_monty", reason="the extra `evaluators` is not installed here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert cli.main(["serve", "--port=0", "--sandbox=bwrap"]) == 1
    assert "bubblewrap is not installed: there is no program `bwrap`" in capsys.readouterr().err


class TestProviders:
    """The choice of providers."""

    def test_it_prints_who_can_be_used_and_why_not(self, tmp_path: Path) -> None:
        key = "sk-ant-0123456789abcdef"
        options = ["openai", "anthropic", "local=http://127.0.0.1:9/v1"]
        arguments = [each for name in options for each in ("--provider", name)]
        variables: dict[str, Any] = {"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": key}
        with serving(tmp_path, *arguments, **variables) as server:
            lines = [line.split(None, 2) for line in server.printed.splitlines()]
            assert key not in server.printed
        assert ["Models", "mock", "built in"] in lines
        lacks = "no key: set OPENAI_API_KEY, or callers send their own"
        assert ["openai", "https://api.openai.com/v1", f"({lacks})"] in lines
        assert ["anthropic", "https://api.anthropic.com/v1"] in lines
        assert ["local", "http://127.0.0.1:9/v1"] in lines
        with serving(tmp_path, "--json", *arguments, **variables) as server:
            found = json.loads(server.printed)["providers"]
        assert found[1] == {"name": "openai", "url": "https://api.openai.com/v1", "lacks": lacks}
        assert [each["lacks"] for each in found] == [None, lacks, None, None]

    def test_without_any_it_says_how(self, tmp_path: Path) -> None:
        with serving(tmp_path) as server:
            assert "add --provider openai" in server.printed

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--provider", "local"], "The provider 'local' needs its URL"),
            (["--provider", "local=http://127.1:80"], "another spelling of 127.0.0.1"),
            (["--provider", "openai=http://api.openai.com:80/v1"], "https:// only"),
            (["--provider-timeout", "0"], "expected a number of seconds"),
            (["--provider-timeout", "nan"], "expected a number of seconds"),
        ],
    )
    def test_what_can_t_be_is_one_line(
        self,
        options: list[str],
        said: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        try:
            code = cli.main(["serve", "--port", "0", *options])
        except SystemExit as end:
            code = int(end.code or 0)
        assert code in {1, 2}
        error = capsys.readouterr().err
        assert said in error
        assert error.splitlines()[-1].startswith("humanloop")
        assert "Traceback" not in error
        assert not (tmp_path / "humanloop.db").exists()
