"""The quickstart as a newcomer runs it: the command, its exit code and what it prints."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from humanloop import Humanloop, SchemaValidationError, cli, quickstart
from humanloop.model import LogResponse
from humanloop.server import EmbeddedServer

ID = r"[0-9A-Za-z]{21}"
EVALUATES = find_spec("pydantic_monty") is not None
LOGS = 23 if EVALUATES else 21
EVALUATION = ("evts", "evfn") if EVALUATES else ()


def run(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command, with temporary files in an empty directory."""
    variables = {**os.environ, "TMPDIR": str(directory), "PYTHONWARNINGS": "error", **environment}
    command = [sys.executable, "-m", "humanloop.cli", "quickstart", *arguments]
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def output(directory: Path) -> str:
    """What a successful run prints."""
    # What the environment says of another server must not matter.
    done = run(directory, HUMANLOOP_API_KEY="another", HUMANLOOP_BASE_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("prefix", ["pr", "config", "data", "sesh", "ann", "exp", *EVALUATION])
def test_shows_ids(output: str, prefix: str) -> None:
    assert re.search(rf"\b{prefix}_{ID}\b", output)


def test_has_its_sections_in_order(output: str) -> None:
    titles = re.findall(r"^\n([A-Z].*)\n>>> ", output, re.M)
    evaluation = ("evaluation",) if EVALUATES else ()
    topics = ("config", "Log", "experiment", "trials", *evaluation, "page", "bad payload")
    assert len(titles) == len(topics)
    assert all(topic in title for topic, title in zip(topics, titles, strict=True))


def test_the_code_that_it_prints_runs_as_one_program(output: str) -> None:
    code = "\n".join(line[4:] for line in output.splitlines() if line.startswith((">>> ", "... ")))
    names: dict[str, object] = {
        "random": random,
        "LogResponse": LogResponse,
        "SchemaValidationError": SchemaValidationError,
    }
    with (
        EmbeddedServer() as server,
        Humanloop(api_key=server.api_key, host=server.url) as names["client"],
    ):
        exec(code, names)
    logs = names["logs"]
    assert isinstance(logs, list)
    assert len(logs) == LOGS


def test_shows_typed_values(output: str) -> None:
    for name, type_name in [
        ("name", "str"),
        ("data_count", "NumberSchema"),
        ("created_at", "DateTimeSchema"),
        ("status", "ExperimentStatus"),
    ]:
        assert re.search(rf"^ +{name} +.+  {type_name}$", output, re.M)


def test_the_experiment_adds_up(output: str) -> None:
    rows = re.findall(r"^ +(?:brief|chatty) +(\d+) +(0\.\d+) +0\.\d+$", output, re.M)
    assert len(rows) == 2
    assert sum(int(trials) for trials, _ in rows) == 16


def test_says_which_config_is_likely_the_best(output: str) -> None:
    shares = re.findall(r"^ +(?:brief|chatty) +the best with (\d+)%$", output, re.M)
    assert len(shares) == 2
    assert sum(map(int, shares)) == 100


@pytest.mark.skipif(not EVALUATES, reason="the extra `evaluators` is not installed here")
def test_evaluates_in_six_lines(output: str) -> None:
    [code] = re.findall(r"^ +evaluator +evfn_.*\n((?:>>> .*\n)+)", output, re.M)
    assert code.count("\n") == 6
    assert re.search(r"^ +Mock answer to: Hi! +True\n", output, re.M)
    assert re.search(r"^ +share of true +0\.5$", output, re.M)


def test_goes_on_without_the_extra_for_evaluators(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quickstart, "find_spec", lambda name: None)
    assert quickstart.main() == 0
    printed = capsys.readouterr().out
    [line] = [each for each in printed.splitlines() if "evaluation" in each]
    assert line.endswith("it needs the extra, pip install '.[evaluators]'")
    assert "bad payload" in printed


def test_reads_every_log_back(output: str) -> None:
    assert re.search(rf"^ +pages +3\n +logs +{LOGS}$", output, re.M)


def test_a_bad_payload_gets_a_line_for_each_error(output: str) -> None:
    [problems] = re.findall(r"error.errors\]\n((?: +/.+\n)+)", output)
    pointers = [line.split()[0] for line in problems.splitlines()]
    assert sorted(pointers) == [
        "/config/temperature",
        "/created_at",
        "/duration",
        "/feedback/1/value",
        "/id",
    ]


def test_is_short_and_plain(output: str) -> None:
    lines = output.splitlines()
    assert len(lines) < 125
    assert max(map(len, lines)) < 120
    assert output.isascii()
    assert "\x1b" not in output


@pytest.mark.usefixtures("output")
def test_leaves_nothing_behind(directory: Path) -> None:
    assert list(directory.iterdir()) == []


def test_a_failure_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing")
    monkeypatch.setattr("tempfile.tempdir", missing)
    assert cli.main(["quickstart"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("humanloop: ")
    assert missing in error
    assert error.count("\n") == 1


def test_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["quickstart", "--help"])
    assert end.value.code == 0
    assert "temporary server" in capsys.readouterr().out


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert quickstart.styled("1", "text") == "\x1b[1mtext\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert quickstart.styled("1", "text") == "text"
    monkeypatch.setenv("NO_COLOR", "")
    assert quickstart.styled("1", "text") == "\x1b[1mtext\x1b[0m"
