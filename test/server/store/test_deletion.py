"""Logs and projects that are deleted by command."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from humanloop import cli
from humanloop.server import EmbeddedServer

from ..api import API_KEY, Api
from ..databases import connected, query
from ..operations.test_evaluations import Setup
from .test_counts import check

TABLES = (
    *("projects", "configs", "feedback_types", "feedback_labels", "experiments", "trials"),
    *("positive_labels", "experiment_configs", "deployments", "sessions", "session_projects"),
    *("logs", "feedback", "label_counts", "batches"),
    *("testsets", "testcase_versions", "evaluations", "evaluation_evaluators"),
    *("evaluation_testcases", "evaluation_results"),
)


def fill(api: Api, name: str) -> str:
    """Make a project with everything in it; return its id."""
    feedback = [{"type": "rating", "value": "good"}, {"type": "comment", "value": "why"}]
    logs = [
        {
            "project": name,
            "config": {"model": f"m{number % 3}"},
            "session_reference_id": f"{name} {number % 7}",
            "feedback": feedback,
        }
        for number in range(300)
    ]
    [first, *_] = api.ok("POST", "/logs", logs)
    project_id = str(first["project_id"])
    api.log(name, parent_id=first["id"])
    configs = api.ok("GET", f"/projects/{project_id}/configs")
    experiment = api.ok(
        "POST",
        f"/projects/{project_id}/experiments",
        {
            "name": "e",
            "positive_labels": [{"type": "rating", "value": "good"}],
            "config_ids": [each["config"]["id"] for each in configs],
            "set_active": True,
        },
    )
    for _ in range(3):
        drawn = api.ok("GET", f"/experiments/{experiment['id']}/model-config")
        api.log(name, trial_id=drawn["trial_id"])
    api.ok("GET", f"/experiments/{experiment['id']}/model-config")
    setup = Setup(api, name)
    made = setup.say("a", "b")
    evaluator_id = setup.evaluator()
    setup.ended(setup.start())
    assert api.call("DELETE", f"/evaluators/{evaluator_id}").status == 204  # it is in no project
    api.ok("PATCH", f"/testcases/{made[0]['id']}", {"inputs": {}})
    assert api.call("DELETE", "/testcases", [made[1]["id"]]).status == 204
    return project_id


def test_a_project_goes_with_all_that_is_in_it(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        api = Api(server.url)
        gone, kept = fill(api, "gone"), fill(api, "kept")
        before = {table: len(query(database_url, f"SELECT 1 FROM {table}")) for table in TABLES}
        shared = api.log("kept", session_reference_id="gone 0")
        export = api.export(kept)
        command = ["delete", "project", "gone", "--database", database_url]
        assert cli.main([*command, "--yes", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "project": "gone",
            "project_id": gone,
            "logs": 306,
        }
        assert api.call("GET", f"/projects/{gone}").status == 404
        assert api.export(kept) == export
        assert api.ok("GET", f"/sessions/{shared['session_id']}")["datapoints_count"] == 1
        assert cli.main([*command, "--yes"]) == 1
        assert "no project 'gone'" in capsys.readouterr().err
        check(database_url)
        assert cli.main(["delete", "log", shared["id"], "--database", database_url]) == 0
        after = {table: len(query(database_url, f"SELECT 1 FROM {table}")) for table in TABLES}
        assert {name: 2 * count for name, count in after.items()} == before
        fill(api, "gone")
    check(database_url)


def test_logs_go_by_their_ids(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        api = Api(server.url)
        ids = [api.log("p", reference_id=f"r{number}")["id"] for number in range(3)]
        command = ["delete", "log", *ids[:2], ids[0], "data_x", "--database", database_url]
        assert cli.main([*command, "--json"]) == 1
        told = json.loads(capsys.readouterr().out)
        assert told == {"deleted": ids[:2], "missing": ["data_x"]}
        project = api.ok("GET", "/projects")["records"][0]
        assert [each["id"] for each in api.export(project["id"])["records"]] == ids[2:]
        api.log("p", reference_id="r0")
    check(database_url)


def test_without_a_terminal_a_project_is_deleted_only_with_yes(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        Api(server.url).log("p")
    command = ["delete", "project", "p", "--database", database_url]
    with open("/dev/null") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert cli.main(command) == 1
    assert "with its 1 log, give --yes" in capsys.readouterr().err
    assert len(query(database_url, "SELECT 1 FROM logs")) == 1


def test_an_array_into_a_project_that_goes_meanwhile_leaves_nothing_half(
    database_url: str,
) -> None:
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        api = Api(server.url)
        api.log("p")
        log = {"project": "p", "config": {"model": "m"}, "session_reference_id": "s"}
        answers: list[Any] = []

        def write() -> None:
            answers.append(api.call("POST", "/logs", [log] * 5000))

        thread = threading.Thread(target=write)
        thread.start()
        with connected(database_url) as connection:
            unfinished = text("SELECT 1 FROM logs WHERE batch_id IS NOT NULL LIMIT 1")
            while connection.execute(unfinished).first() is None:
                pass
        assert cli.main(["delete", "project", "p", "--yes", "--database", database_url]) == 0
        thread.join()
        logs = len(query(database_url, "SELECT 1 FROM logs"))
        # The array may have been complete before the deletion, or early enough to create a new
        # project.
        assert (answers[0].status, logs) in {(503, 0), (200, 0), (200, 5000)}
    check(database_url)


@pytest.mark.sqlite
def test_a_locked_database_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.db"
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        log_id = Api(server.url).log("p", created_at="2020-01-01T00:00:00Z")["id"]
    (tmp_path / "logs.jsonl").write_text('{"project": "p", "config": {"model": "m"}}')
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for command in (
            ["prune", "--keep", "1d"],
            ["delete", "log", log_id],
            ["delete", "project", "p", "--yes"],
            ["import", str(tmp_path / "logs.jsonl")],
        ):
            assert cli.main([*command, "--database", f"sqlite:///{path}?timeout=0.05"]) == 1
            told = capsys.readouterr().err
            assert "can't be used right now. The database reported: database is locked" in told
            assert told.count("\n") == 1
