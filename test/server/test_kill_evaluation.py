"""The server's process is killed in the middle of an evaluation: nothing is lost or done twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from subprocesses import environment

from humanloop.server.store import urls

from . import databases
from .api import API_KEY, Api
from .operations.test_evaluations import BROKEN, LENGTH, SAME, Setup, wait_for

TESTCASES = 200
SERVER = f"""
import sys
from humanloop.server import EmbeddedServer, Settings

settings = Settings(takeover_seconds=1)
with EmbeddedServer(sys.argv[1], api_key={API_KEY!r}, settings=settings) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


class Process:
    """A server in a process of its own."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, url],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.api = Api(self._process.stdout.readline().strip())

    def kill(self) -> None:
        """End it without a warning."""
        self._process.kill()
        self._process.communicate()

    def stop(self) -> None:
        """End it as it should be."""
        self._process.communicate("")


def counts(url: str) -> list[int]:
    """How many logs, results, and testcases that are still open the database has."""
    engine = create_engine(urls.parse(url))
    with engine.connect() as connection:
        found = [
            connection.scalar(text(f"SELECT count(*) FROM {table}"))
            for table in (
                "logs",
                "evaluation_results",
                "evaluation_testcases WHERE stage IS NOT NULL",
            )
        ]
    engine.dispose()
    return found


def results_count(api: Api, evaluation_id: str) -> int:
    """How many results have a value or an error."""
    path = f"/evaluations/{evaluation_id}?evaluator_aggregates=true"
    found = api.ok("GET", path)["evaluator_aggregates"]
    return sum(each["results_count"] + each["errors_count"] for each in found)


def wait_for_results(api: Api, evaluation_id: str, enough: int) -> None:
    """Return once there are so many."""
    databases.wait_for(lambda: results_count(api, evaluation_id) >= enough)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_every_testcase_is_done_once(database_url: str) -> None:
    process = Process(database_url)
    setup = Setup(process.api, "p", chat_template=[{"role": "system", "content": "{{ n }}"}])
    target: Any = {"output": "Mock answer to: 7"}
    for number in range(TESTCASES):
        setup.say(str(number), inputs={"n": str(number)}, target=target)
    setup.evaluator(LENGTH)
    setup.evaluator(SAME, "boolean")
    setup.evaluator(BROKEN)
    evaluation_id = setup.start()
    for enough in (60, 240):
        wait_for_results(process.api, evaluation_id, enough)
        process.kill()
        assert counts(database_url)[2] > 0, "it was done before it was killed"
        process = Process(database_url)
    evaluation = wait_for(process.api, evaluation_id)
    setup.api = process.api
    cases = [
        case for page in (1, 2, 3) for case in setup.cases(evaluation_id, f"?size=100&page={page}")
    ]
    project = process.api.ok("GET", f"/projects/{setup.project_id}")
    process.stop()
    assert evaluation["status"] == "completed"
    assert [
        (each["results_count"], each["errors_count"], each.get("aggregate_value"))
        for each in evaluation["evaluator_aggregates"]
    ] == [(200, 0, 18.45), (200, 0, 0.005), (0, 200, None)]
    assert counts(database_url) == [TESTCASES, 3 * TESTCASES, 0]
    assert project["data_count"] == TESTCASES
    assert len({case["datapoint"]["id"] for case in cases}) == TESTCASES
    for number, case in enumerate(cases):
        assert case["datapoint"]["output"] == f"Mock answer to: {number}"
        assert len(case["evaluation_results"]) == 3
