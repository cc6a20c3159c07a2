"""Counts that are kept: they say what counting would say, after whatever was done."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from humanloop.server import EmbeddedServer

from ..api import API_KEY, Api
from ..databases import query

LABELS = ("rating", "action", "issue")
QUERIES = {
    "projects": (
        "SELECT id, datapoints FROM projects WHERE datapoints > 0",
        "SELECT project_id, count(*) FROM logs GROUP BY 1",
    ),
    "configs": (
        "SELECT id, datapoints FROM configs WHERE datapoints > 0",
        "SELECT config_id, count(*) FROM logs GROUP BY 1",
    ),
    "sessions": (
        "SELECT project_id, session_id, s.created_at, datapoints"
        " FROM session_projects JOIN sessions s ON s.id = session_id"
        " WHERE s.created_at = session_projects.created_at",
        "SELECT project_id, session_id, s.created_at, count(*)"
        " FROM logs JOIN sessions s ON s.id = session_id GROUP BY 1, 2, 3",
    ),
    "labels": (
        "SELECT config_id, feedback_type_id, value, datapoints FROM label_counts"
        " WHERE datapoints > 0",
        "SELECT config_id, feedback_type_id, value, count(*) FROM feedback"
        " JOIN logs ON logs.id = log_id JOIN feedback_types t ON t.id = feedback_type_id"
        " WHERE feedback_class IN ('select', 'multi_select') GROUP BY 1, 2, 3",
    ),
}


def check(url: str) -> dict[str, int]:
    """Compare what is kept with what is there; returns how many counts of each kind there are."""
    sizes = {}
    for name, statements in QUERIES.items():
        found, wanted = (Counter(query(url, statement)) for statement in statements)
        assert found == wanted, name
        sizes[name] = len(wanted)
    return sizes


def fill(api: Api) -> None:
    """Do all that changes a count."""

    def log(index: int) -> dict[str, Any]:
        feedback = [{"type": kind, "value": f"l{index % 3}"} for kind in (*LABELS, "comment")]
        return {
            "project": f"p{index % 2}",
            "config": {"model": f"m{index % 3}"},
            "session_reference_id": f"s{index % 5}",
            "feedback": feedback[: index % 5],
        }

    ids = [api.ok("POST", "/logs", log(index))["id"] for index in range(20)]
    ids += [each["id"] for each in api.ok("POST", "/logs", [log(index) for index in range(600)])]
    for index, log_id in enumerate(ids[:40]):
        for kind in LABELS:
            api.ok("POST", "/feedback", {"data_id": log_id, "type": kind, "value": f"l{index % 4}"})
    batch = [{"data_id": log_id, "type": kind, "value": "new"} for log_id in ids for kind in LABELS]
    api.ok("POST", "/feedback", batch)
    unset = [{**each, "unset": True} for each in batch[: len(batch) // 2]]
    api.ok("POST", "/feedback", unset)
    bad = [{"data_id": ids[0], "type": "rating", "value": "good"}, {"data_id": "data_x"}]
    assert api.call("POST", "/feedback", bad).status == 422
    assert api.call("POST", "/logs", [log(1), {**log(2), "trial_id": "x"}]).status == 422


def test_counts_are_those_of_what_is_there(database_url: str) -> None:
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        fill(Api(server.url))
    sizes = check(database_url)
    assert sizes["sessions"] == 10
    assert sizes["labels"] > 20


@pytest.mark.sqlite
def test_a_large_array_that_was_cut_off_has_left_nothing(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        body = {"project": "p", "config": {"model": "m"}, "reference_id": "r"}
        feedback = {"type": "rating", "value": "good"}
        logged = Api(server.url).ok("POST", "/logs", {**body, "feedback": feedback})
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO batches SELECT id, 'batch_x', '2026-01-01 00:00:00' FROM organizations"
        )
        connection.execute("UPDATE logs SET batch_id = 'batch_x'")
        connection.execute("UPDATE projects SET datapoints = 0")
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        api = Api(server.url)
        assert api.export(logged["project_id"])["records"] == []
        assert api.ok("POST", "/logs", body)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM feedback").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM batches").fetchone() == (0,)
