"""The pytest plugin: a test runs once for each testcase of a testset.

    @pytest.mark.humanloop_testset("evts_...")
    def test_answer(humanloop_testcase):
        output = answer(humanloop_testcase.inputs)
        humanloop_testcase.log(output)
        assert humanloop_testcase.score("exact", output == humanloop_testcase.target["output"])

The client takes its settings from the environment. pytest imports this module in every run, so it
imports nothing but pytest until a test has the marker.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from humanloop.client import Humanloop
    from humanloop.evaluations.testcase import Testcase, Testset
    from humanloop.exceptions import OpenApiException

_MARKER = "humanloop_testset"
_FIXTURE = "humanloop_testcase"
_USE = (
    f"{_MARKER}(testset_id, config=None): run the test once for each testcase of a testset, which"
    f" the fixture {_FIXTURE} gives; config: that of the datapoints which the test logs"
)
_PROPERTY = "humanloop_"
_SCORE = f"{_PROPERTY}score."
_MOST_ROWS = 50  # of a table; those that did not pass come first
_OUTCOMES = ("failed", "error", "xpassed", "xfailed", "skipped", "passed")
"""The categories of pytest's reports, the worst first."""


@dataclass(frozen=True)
class _Mistake:
    """Stands in a test's parameters for the testcases that it has not got; text: why."""

    text: str


class _Session:
    """The client and the testsets of one process, made when they are needed."""

    def __init__(self) -> None:
        self._client: Humanloop | None = None
        self._testsets: dict[str, Testset | OpenApiException] = {}

    def testset(self, id: str) -> Testset:
        """Return a testset, which is read once; raise again why that was not possible."""
        from humanloop.client import Humanloop
        from humanloop.evaluations.testcase import Testset
        from humanloop.exceptions import OpenApiException

        found = self._testsets.get(id)
        if found is None:
            try:
                self._client = self._client or Humanloop()
                found = Testset(self._client.api_client, id)
            except OpenApiException as error:
                found = error
            self._testsets[id] = found
        if isinstance(found, OpenApiException):
            raise found
        return found

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()


_SESSION = pytest.StashKey[_Session]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _USE)
    config.stash[_SESSION] = _Session()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the client of the run."""
    config.stash[_SESSION].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each testcase."""
    marker = metafunc.definition.get_closest_marker(_MARKER)
    if marker is None:
        return
    from humanloop.exceptions import OpenApiException

    if _FIXTURE not in metafunc.fixturenames:
        return  # pytest_runtest_setup tells it
    try:
        testset_id, config = _arguments(*marker.args, **marker.kwargs)
        testset = metafunc.config.stash[_SESSION].testset(testset_id)
        if not testset.cases:
            raise ValueError(f"the testset {testset_id} has no testcases")
    except (OpenApiException, TypeError, ValueError) as error:
        # An error of this test alone: what is raised here ends the whole file.
        mistake = _Mistake(f"{_MARKER}: {error}")
        metafunc.parametrize(_FIXTURE, [mistake], ids=["no testcases"], indirect=True)
        return
    metafunc.parametrize(
        _FIXTURE,
        [(testset, case, config) for case in testset.cases],
        ids=[case["id"] for case in testset.cases],
        indirect=True,
    )


def _arguments(
    testset_id: str, *, config: Mapping[str, Any] | None = None
) -> tuple[str, Mapping[str, Any] | None]:
    """Return the arguments of the marker."""
    return testset_id, config


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the reports of a test tell its testcase, those of a test that is skipped, too.

    Reports carry it from the processes of xdist to the one that sums up, and into JUnit's XML.
    """
    callspec = getattr(item, "callspec", None)
    param = callspec.params.get(_FIXTURE) if callspec is not None else None
    if item.get_closest_marker(_MARKER) is None or not isinstance(param, tuple):
        return
    testset, case, _ = cast("tuple[Testset, Mapping[str, Any], object]", param)
    item.user_properties += [
        (f"{_PROPERTY}testset", testset.testset["id"]),
        (f"{_PROPERTY}testcase", case["id"]),
    ]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a test that has the marker and does not take the fixture."""
    marked = item.get_closest_marker(_MARKER) is not None
    if marked and _FIXTURE not in getattr(item, "fixturenames", (_FIXTURE,)):
        pytest.fail(f"{_MARKER}: the test must take the fixture {_FIXTURE}", pytrace=False)


def _without_testcase(nodeid: str, testcase: str) -> str:
    """Return a test's id without that of its testcase, but with its other parameters."""
    start, found, end = nodeid.rpartition(testcase)
    if not found:
        return nodeid
    start, end = start.removesuffix("-"), end.removeprefix("-")
    glue = "" if start.endswith("[") or end.startswith("]") else "-"
    return f"{start}{glue}{end}".replace("[]", "")


@pytest.fixture
def humanloop_testcase(request: pytest.FixtureRequest) -> Testcase:
    """The testcase that the test runs for; see `humanloop.evaluations.testcase.Testcase`."""
    from humanloop.evaluations.testcase import Testcase

    if not hasattr(request, "param"):
        pytest.fail(f"{_FIXTURE} needs the marker {_USE}", pytrace=False)
    if isinstance(request.param, _Mistake):
        pytest.fail(request.param.text, pytrace=False)
    testset, case, config = request.param
    item: pytest.Item = request.node
    test = _without_testcase(item.nodeid, case["id"])
    testcase = Testcase(testset, case, test, test.rpartition("::")[2], config)
    item.stash[_TESTCASE] = testcase
    return testcase


_TESTCASE = pytest.StashKey[Any]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Put what a test has logged and scored into its report."""
    testcase: Testcase | None = item.stash.get(_TESTCASE, None)
    if testcase is None or call.when != "call":
        return
    if testcase.log_id is not None:
        item.user_properties.append((f"{_PROPERTY}log", testcase.log_id))
    item.user_properties += [(f"{_SCORE}{name}", value) for name, value in testcase.scores.items()]


# -- the summary ----------------------------------------------------------------------------------


@dataclass
class _Row:
    """One test of a testcase."""

    testcase: str
    outcome: str
    log: str
    scores: Mapping[str, float] = field(default_factory=lambda: {})


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a table in Markdown for each test, and add them to GitHub's summary of the job."""
    tests = _rows(terminalreporter.stats)
    if not tests:
        return
    text = "\n\n".join(_table(test, list(rows.values())) for test, rows in tests.items())
    terminalreporter.section("humanloop")
    terminalreporter.write_line(text)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{text}\n\n")


def _rows(stats: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, _Row]]:
    """Return the rows by test and testcase; a test counts as the worst of its phases."""
    found: dict[str, dict[str, _Row]] = {}
    for outcome in reversed(_OUTCOMES):
        for report in stats.get(outcome, ()):
            known: dict[str, Any] = dict(getattr(report, "user_properties", ()))
            if f"{_PROPERTY}testcase" not in known:
                continue
            testcase = known[f"{_PROPERTY}testcase"]
            test = _without_testcase(report.nodeid, testcase)
            scores = {
                name.removeprefix(_SCORE): float(value)
                for name, value in known.items()
                if name.startswith(_SCORE)
            }
            log = known.get(f"{_PROPERTY}log", "")
            found.setdefault(test, {})[report.nodeid] = _Row(testcase, outcome, log, scores)
    return found


def _table(test: str, rows: Sequence[_Row]) -> str:
    passed = sum(row.outcome in {"passed", "xfailed"} for row in rows)
    skipped = sum(row.outcome == "skipped" for row in rows)
    ran = len(rows) - skipped
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    ranked = sorted(rows, key=lambda row: _OUTCOMES.index(row.outcome))
    lines = [
        ["testcase", "outcome", *names, "datapoint"],
        ["---", "---", *("---:" for _ in names), "---"],
        *(_cells(row, names) for row in ranked[:_MOST_ROWS]),
        [
            "**mean**",
            f"{100 * passed / ran:.1f}%" if ran else "-",
            *(_mean(rows, name) for name in names),
            "",
        ],
    ]
    if len(rows) > _MOST_ROWS:
        lines.insert(-1, [f"{len(rows) - _MOST_ROWS} more", *("" for _ in lines[0][1:])])
    table = "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)
    also = f", {skipped} skipped" if skipped else ""
    return f"### `{test}`: {passed} of {ran} passed{also}\n\n{table}"


def _cells(row: _Row, names: Sequence[str]) -> list[str]:
    scores = [f"{row.scores[name]:.4g}" if name in row.scores else "" for name in names]
    return [row.testcase, row.outcome, *scores, row.log]


def _mean(rows: Sequence[_Row], name: str) -> str:
    values = [row.scores[name] for row in rows if name in row.scores]
    return f"{sum(values) / len(values):.4g}"


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
