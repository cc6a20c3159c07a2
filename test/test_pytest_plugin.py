"""The pytest plugin in runs of pytest of their own, against a real server."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from humanloop import Humanloop
from humanloop.server import EmbeddedServer

pytest_plugins = ["pytester"]

NUMBERS = itertools.count(1)
PROGRAM = """
    import pytest

    @pytest.mark.humanloop_testset({testset!r})
    def test_answer(humanloop_testcase):
        output = humanloop_testcase.inputs["question"].upper()
        humanloop_testcase.log(output, metadata={{"by": "test"}})
        humanloop_testcase.score("length", len(output))
        assert humanloop_testcase.score("exact", output == humanloop_testcase.target["output"])
"""


@dataclass
class Place:
    """A testset of three testcases, the last of which has a target that nobody meets."""

    client: Humanloop
    project_id: str
    testset_id: str
    ids: list[str]

    def logs(self) -> list[Any]:
        return list(self.client.projects.iterate_export(id=self.project_id))


@pytest.fixture(autouse=True)
def imported() -> Iterator[dict[str, ModuleType]]:
    """Modules that a test has imported, which stay.

    pytester forgets them. Whoever imports them again would get other classes of the same names.
    """
    found: dict[str, ModuleType] = {}
    yield found
    sys.modules.update(found)


@pytest.fixture
def pytester(
    imported: dict[str, ModuleType], pytester: pytest.Pytester
) -> Iterator[pytest.Pytester]:
    yield pytester
    imported.update(sys.modules)  # before the fixture of this name that it takes is torn down


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as running:
        yield running


@pytest.fixture
def place(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("HUMANLOOP_API_KEY", server.api_key)
    monkeypatch.setenv("HUMANLOOP_BASE_URL", server.url)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    with Humanloop() as client:
        project = client.projects.create(name=f"project {next(NUMBERS)}").body["id"]
        testset = client.testsets.create(project_id=project, name="t", description="").body["id"]
        body: list[Any] = [
            {"inputs": {"question": question}, "target": {"output": output}}
            for question, output in (("a", "A"), ("b", "B"), ("c", "never"))
        ]
        made = client.testsets.create_testcase(testset_id=testset, body=body).body
        yield Place(client, project, testset, [each["id"] for each in made])


def run(pytester: pytest.Pytester, *arguments: str, source: str = PROGRAM, **names: str) -> Any:
    """Run pytest with the plugin on a program."""
    pytester.makepyfile(source.format(**names))
    options = ("-p", "humanloop.pytest_plugin", "-p", "no:cacheprovider", "-W", "error")
    return pytester.runpytest_subprocess(*options, *arguments)


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_test_runs_for_each_testcase(
    pytester: pytest.Pytester, place: Place, processes: tuple[str, ...]
) -> None:
    result = run(pytester, "-v", *processes, testset=place.testset_id)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2, failed=1)
    output = result.stdout.str()
    for id in place.ids:
        assert f"test_answer[{id}]" in output
    logs = {log["metadata"]["testcase_id"]: log for log in place.logs()}
    assert set(logs) == set(place.ids)
    assert {log["output"] for log in logs.values()} == {"A", "B", "C"}
    for log in logs.values():
        assert log["metadata"]["by"] == "test"
        assert log["source"] == "evaluation"
        scores = {each["type"]: each["value"] for each in log["feedback"]}
        assert scores == {"length": 1, "exact": int(log["output"] != "C")}
        assert log["id"] in output
    lines = [line for line in output.splitlines() if line.startswith(("|", "###"))]
    assert re.fullmatch(r"### `.*::test_answer`: 2 of 3 passed", lines[0])
    assert lines[1] == "| testcase | outcome | length | exact | datapoint |"
    failed = logs[place.ids[2]]
    assert lines[3] == f"| {place.ids[2]} | failed | 1 | 0 | {failed['id']} |"
    assert lines[-1] == "| **mean** | 66.7% | 1 | 0.6667 |  |"


def summary_of(result: Any) -> list[str]:
    """Return the lines of the tables without the rows' datapoints, which have random ids."""
    lines = result.stdout.str().splitlines()
    return [re.sub(r" \S* \|$", "", each) for each in lines if each.startswith(("| ", "###"))]


def test_each_parameter_has_a_table_and_a_config(pytester: pytest.Pytester, place: Place) -> None:
    source = """
    import pytest

    @pytest.mark.parametrize("last", ["x[1]", "y"])
    @pytest.mark.humanloop_testset({testset!r})
    @pytest.mark.parametrize("first", ["a-b"])
    def test_answer(humanloop_testcase, first, last):
        humanloop_testcase.log(last)
        assert last != "y"
    """
    result = run(pytester, source=source, testset=place.testset_id)
    result.assert_outcomes(passed=3, failed=3)
    heads = [line.partition("::")[2] for line in summary_of(result) if line.startswith("#")]
    assert sorted(heads) == [
        "test_answer[a-b-x[1]]`: 3 of 3 passed",
        "test_answer[a-b-y]`: 0 of 3 passed",
    ]
    configs = {(log["output"], log["config"]["name"], log["config"]["id"]) for log in place.logs()}
    assert {each[:2] for each in configs} == {
        ("x[1]", "test_answer[a-b-x[1]]"),
        ("y", "test_answer[a-b-y]"),
    }
    assert len({each[2] for each in configs}) == 2


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_what_is_skipped_is_left_out_of_the_rate(
    pytester: pytest.Pytester, place: Place, processes: tuple[str, ...]
) -> None:
    source = """
    import pytest

    @pytest.mark.humanloop_testset({testset!r})
    def test_some(humanloop_testcase):
        if humanloop_testcase.inputs["question"] == "a":
            pytest.skip("not now")

    @pytest.mark.skip
    @pytest.mark.humanloop_testset({testset!r})
    def test_none(humanloop_testcase): ...
    """
    result = run(pytester, *processes, source=source, testset=place.testset_id)
    result.assert_outcomes(passed=2, skipped=4)
    lines = summary_of(result)
    rates = [line for line in lines if "mean" in line]
    heads = [line.partition("::")[2] for line in lines if line.startswith("#")]
    assert set(zip(heads, rates, strict=True)) == {
        ("test_some`: 2 of 2 passed, 1 skipped", "| **mean** | 100.0% |"),
        ("test_none`: 0 of 0 passed, 3 skipped", "| **mean** | - |"),
    }


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_testset_that_is_not_there_is_an_error_of_its_test_alone(
    pytester: pytest.Pytester, place: Place, processes: tuple[str, ...]
) -> None:
    source = """
    import pytest

    def test_other(): ...

    @pytest.mark.humanloop_testset({testset!r})
    def test_good(humanloop_testcase): ...

    @pytest.mark.humanloop_testset("evts_unknown")
    def test_bad(humanloop_testcase): ...

    @pytest.mark.humanloop_testset({testset!r})
    def test_without(): ...
    """
    result = run(pytester, *processes, source=source, testset=place.testset_id)
    result.assert_outcomes(passed=4, errors=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = [line for line in result.stdout.str().splitlines() if "evts_unknown" in line]
    assert 1 <= len(told) <= 2  # the error, and its line in pytest's short summary


def test_a_server_that_is_not_there(
    pytester: pytest.Pytester, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUMANLOOP_BASE_URL", "http://127.0.0.1:9/v4")
    program = "def test_other(): ...\n" + textwrap.dedent(PROGRAM)
    result = run(pytester, source=program, testset=place.testset_id)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["humanloop_testset: GET http://127.0.0.1:9*"])


def test_the_exit_code_is_the_gate(pytester: pytest.Pytester, place: Place) -> None:
    testcase = place.ids[0]
    result = run(pytester, "-k", testcase, testset=place.testset_id)
    assert result.ret == pytest.ExitCode.OK


def test_the_summary_goes_to_github(
    pytester: pytest.Pytester, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run(pytester, testset=place.testset_id)
    assert summary.read_text().startswith("before\n### `")
    assert summary.read_text().count("\n| evtc_") == 3


def test_the_config_of_the_logs(pytester: pytest.Pytester, place: Place) -> None:
    source = """
    import pytest

    @pytest.mark.humanloop_testset({testset!r}, config={{"type": "model", "model": "mine"}})
    class TestAnswers:
        def test_answer(self, humanloop_testcase):
            humanloop_testcase.log({{"answer": 1}})
    """
    run(pytester, source=source, testset=place.testset_id).assert_outcomes(passed=3)
    assert {log["config"]["model"] for log in place.logs()} == {"mine"}
    assert {log["output"] for log in place.logs()} == {'{"answer":1}'}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("@mark('evts_' + '0' * 21)\ndef test(humanloop_testcase): pass", "*404*"),
        ("@mark()\ndef test(humanloop_testcase): pass", "*missing*testset_id*"),
        ("@mark('evts_x', confg=1)\ndef test(humanloop_testcase): pass", "*'confg'*"),
        ("@mark('{testset}')\ndef test(): pass", "*must take the fixture humanloop_testcase*"),
        ("@mark('{empty}')\ndef test(humanloop_testcase): pass", "*has no testcases*"),
        ("def test(humanloop_testcase): pass", "*needs the marker humanloop_testset(*"),
        (
            "@mark('{testset}')\ndef test(humanloop_testcase): humanloop_testcase.score('a', 1)",
            "*log an output first*",
        ),
        (
            "@mark('{testset}')\ndef test(humanloop_testcase):\n"
            "    humanloop_testcase.log('x')\n    humanloop_testcase.score('a', 'good')",
            "*must return a boolean or a number, not str*",
        ),
    ],
)
def test_mistakes_are_told(
    pytester: pytest.Pytester, place: Place, source: str, message: str
) -> None:
    empty = place.client.testsets.create(project_id=place.project_id, name="e", description="")
    head = "import pytest\nmark = pytest.mark.humanloop_testset\n"
    names = {"testset": place.testset_id, "empty": empty.body["id"]}
    result = run(pytester, source=head + source, **names)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines([message])


def test_it_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    source = """
    import sys

    def test_nothing():
        found = [name for name in sys.modules if name.startswith("humanloop")]
        assert sorted(found) == ["humanloop", "humanloop.pytest_plugin", "humanloop.version"]
    """
    result = run(pytester, source=source)
    assert result.ret == pytest.ExitCode.OK
    assert "humanloop" not in result.stdout.str().partition("collected")[2]


def test_the_plugin_needs_pytest_alone() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import humanloop.pytest_plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["humanloop", "humanloop.pytest_plugin", "humanloop.version"]
