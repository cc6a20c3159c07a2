"""Stored counts equal counted ones after any operation."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from humanloop.server import EmbeddedServer
from humanloop.server.operations.calls import SLICE

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
    "trials": (
        "SELECT experiment_id, config_id, trials, positives FROM experiment_configs"
        " WHERE trials > 0",
        "SELECT t.experiment_id, t.config_id, count(DISTINCT l.id),"
        " count(DISTINCT CASE WHEN p.value IS NOT NULL THEN l.id END)"
        " FROM trials t JOIN logs l ON l.trial_id = t.id JOIN feedback f ON f.log_id = l.id"
        " LEFT JOIN positive_labels p ON p.experiment_id = t.experiment_id"
        " AND p.feedback_type_id = f.feedback_type_id AND p.value = f.value"
        " GROUP BY 1, 2",
    ),
}


def check(url: str) -> dict[str, int]:
    """Compare the stored counts with counted ones; return the number of counts of each kind."""
    sizes = {}
    for name, statements in QUERIES.items():
        found, wanted = (Counter(query(url, statement)) for statement in statements)
        assert found == wanted, name
        sizes[name] = len(wanted)
    return sizes


def begin_experiment(api: Api) -> str:
    """The path of a new experiment on all configs of a project."""
    [project] = api.ok("GET", "/projects?filter=p0")["records"]
    path = f"/projects/{project['id']}"
    known = [{"value": each, "sentiment": "unset"} for each in ("l0", "l1", "l2", "l3", "new")]
    kinds = [{"type": kind, "values": known} for kind in LABELS]
    api.ok("PATCH", f"{path}/feedback-types", kinds)
    body = {
        "name": "of all",
        "positive_labels": [{"type": kind, "value": "l1"} for kind in LABELS],
        "config_ids": [each["config"]["id"] for each in api.ok("GET", f"{path}/configs")],
    }
    return f"/experiments/{api.ok('POST', f'{path}/experiments', body)['id']}"


def draw(api: Api, experiment: str, count: int) -> list[str]:
    """The ids of some new trials."""
    return [api.ok("GET", f"{experiment}/model-config")["trial_id"] for _ in range(count)]


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
    experiment = begin_experiment(api)
    trials = draw(api, experiment, 20)

    def log_trial(index: int) -> dict[str, Any]:
        drawn = {**log(2 * index), "trial_id": trials[index % len(trials)]}
        del drawn["config"]
        return drawn

    ids += [api.ok("POST", "/logs", log_trial(index))["id"] for index in range(20)]
    for log_of in (log_trial, log):
        body = [log_of(index) for index in range(600)]
        ids += [each["id"] for each in api.ok("POST", "/logs", body)]
    for index, log_id in enumerate(ids[:40]):
        for kind in LABELS:
            api.ok("POST", "/feedback", {"data_id": log_id, "type": kind, "value": f"l{index % 4}"})
    labels = [{"type": "rating", "value": "new"}, {"type": "issue", "value": "l2"}]
    api.ok("PATCH", experiment, {"positive_labels": labels})
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
    assert sizes["trials"] == 3


def test_trials_are_counted_by_the_labels_that_are_positive_at_last(database_url: str) -> None:
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        api = Api(server.url)
        api.log("p0")
        experiment = begin_experiment(api)
        trials = draw(api, experiment, 10)

        def body(size: int) -> list[dict[str, Any]]:
            return [
                {
                    "project": "p0",
                    "trial_id": trials[index % 10],
                    "feedback": {"type": "rating", "value": ("good", "bad")[index % 2]},
                }
                for index in range(size)
            ]

        def log_many() -> None:
            Api(server.url).ok("POST", "/logs", body(4 * SLICE))

        def rate() -> None:
            own = Api(server.url)
            for each in own.ok("POST", "/logs", body(20)):
                better = {"data_id": each["id"], "type": "rating", "value": "good"}
                own.ok("POST", "/feedback", better)

        for number in range(4):
            threads = [threading.Thread(target=target) for target in (log_many, rate, rate)]
            for thread in threads:
                thread.start()
            for index in range(5):
                labels = [{"type": "rating", "value": ("good", "bad")[(number + index) % 2]}]
                api.ok("PATCH", experiment, {"positive_labels": labels})
            for thread in threads:
                thread.join()
            assert check(database_url)["trials"] == 1


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
