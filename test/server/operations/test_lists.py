"""Lists: every page needs the same number of statements, and a deep page reads no skipped row."""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from humanloop import Humanloop
from humanloop.server.operations.calls import SLICE

from ..api import API_KEY, Api
from ..chatting import Own
from ..databases import query, statements


def values(parameters: Any) -> list[Any]:
    """The values of a statement's parameters, which some drivers name."""
    return list(parameters.values() if isinstance(parameters, dict) else parameters)


def experiment(api: Api, project_id: str, name: str) -> None:
    """An experiment with a label, whose config was drawn and got feedback."""
    [config, *_] = api.ok("GET", f"/projects/{project_id}/configs")
    created = api.ok(
        "POST",
        f"/projects/{project_id}/experiments",
        {
            "name": name,
            "positive_labels": [{"type": "rating", "value": "good"}],
            "config_ids": [config["config"]["id"]],
        },
    )
    trial = api.ok("GET", f"/experiments/{created['id']}/model-config")
    feedback = {"type": "rating", "value": "good"}
    project = config["project_name"]
    api.ok(
        "POST", "/logs", {"project": project, "trial_id": trial["trial_id"], "feedback": feedback}
    )


def test_more_records_take_no_more_statements(own: Own) -> None:
    api = own.api
    for number in range(6):
        for _ in range(2):
            api.log(f"p{number}", session_reference_id=f"s{number}")
        project_id = api.log("one", session_reference_id=f"s{number}")["project_id"]
        if number < 4:
            experiment(api, project_id, f"e{number}")
    paths = ["/projects?size={}", f"/sessions?project_id={project_id}&size={{}}"]
    for path in paths:
        counts = []
        for size in (2, 6):
            with statements(own.database) as found:
                assert len(api.ok("GET", path.format(size))["records"]) == size
            counts.append(len(found))
        assert counts[0] == counts[1]
    with statements(own.database) as four:
        listed = api.ok("GET", f"/projects/{project_id}/experiments")
    assert [each["configs"][0]["trials_count"] for each in listed] == [1] * 4
    experiment(api, project_id, "e4")
    with statements(own.database) as five:
        api.ok("GET", f"/projects/{project_id}/experiments")
    assert len(four) == len(five)


def test_more_labels_take_no_more_statements(own: Own) -> None:
    def log(first: int, number: int) -> int:
        body = [
            {
                "project": "p",
                "config": {"model": "m"},
                "feedback": {"type": "action", "value": f"label {first + index}"},
            }
            for index in range(number)
        ]
        with statements(own.database) as found:
            own.api.ok("POST", "/logs", body)
        return len(found)

    log(0, 1)
    assert log(1, 20) == log(100, 100)


def test_more_trials_or_configs_take_no_more_statements(own: Own) -> None:
    label = {"type": "rating", "value": "good"}
    configs = [{"project": "p", "config": {"model": f"m{number}"}} for number in range(10)]
    [project_id] = {each["project_id"] for each in own.api.ok("POST", "/logs", configs)}
    ids = [each["config"]["id"] for each in own.api.ok("GET", f"/projects/{project_id}/configs")]
    experiment: Any = None

    def create(number: int) -> int:
        nonlocal experiment
        body = {"name": str(number), "positive_labels": [label], "config_ids": ids[:number]}
        with statements(own.database) as found:
            experiment = own.api.ok("POST", f"/projects/{project_id}/experiments", body)
        return len(found)

    fewer = create(2)
    assert create(10) - fewer <= 8  # to insert them
    path = f"/experiments/{experiment['id']}/model-config"
    trials = [own.api.ok("GET", path)["trial_id"] for _ in range(20)]

    def log(number: int) -> int:
        with statements(own.database) as found:
            own.api.ok("POST", "/logs", [{"project": "p", "trial_id": t} for t in trials[:number]])
        return len(found)

    assert log(2) == log(20)


def test_what_became_of_trials_is_not_counted_for_a_list(own: Own) -> None:
    project_id = own.api.log("p")["project_id"]
    experiment(own.api, project_id, "e")
    with statements(own.database) as found:
        [listed] = own.api.ok("GET", f"/projects/{project_id}/experiments")
    assert listed["configs"][0]["mean"] == 1
    assert not [statement for statement, _ in found if re.search(r"\b(logs|feedback)\b", statement)]


@pytest.mark.sqlite
@pytest.mark.parametrize("path", ["/projects/{}/export", "/sessions?project_id={}"])
def test_a_deep_page_reads_only_the_index_before_it(own: Own, tmp_path: Path, path: str) -> None:
    body = [
        {"project": "p", "config": {"model": "m"}, "session_reference_id": f"s{index}"}
        for index in range(200)
    ]
    [project_id] = {each["project_id"] for each in own.api.ok("POST", "/logs", body)}
    method, mark = ("POST", "?") if path.endswith("export") else ("GET", "&")
    with statements(own.database) as found:
        page = own.api.ok(method, f"{path.format(project_id)}{mark}page=15&size=10")
    assert len(page["records"]) == 10
    [(statement, parameters)] = [
        each for each in found if "OFFSET" in each[0] and {140, 150} & set(values(each[1]))
    ]
    with closing(sqlite3.connect(tmp_path / "own.db")) as connection:
        explained = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plan = [row[3] for row in explained]
    assert any("USING COVERING INDEX" in each for each in plan)
    assert all("SEARCH" in each for each in plan if "_id" in each)


def test_an_export_gives_each_log_once_while_others_come(own: Own) -> None:
    own.api.ok("POST", "/logs", [{"project": "p", "config": {"model": "m"}}] * 60)
    project_id = own.api.log("p")["project_id"]
    first = {each["id"] for each in own.api.export(project_id)["records"]}
    with Humanloop(api_key=API_KEY, host=own.server.url) as client:
        found = []
        for record in client.projects.iterate_export(id=project_id, size=7):
            found.append(record["id"])
            if len(found) < 40:
                own.api.log("p")
    assert len(found) == len(set(found))
    assert first <= set(found)


def test_pages_are_those_of_the_whole_list_whatever_was_read_before(
    own: Own, database_url: str
) -> None:
    randomness = random.Random(5)
    api = own.api
    log = {"project": "p", "config": {"model": "m"}}
    api.ok("POST", "/logs", [log] * 40)
    project_id = api.log("p")["project_id"]
    walks = {2: 0, 5: 0, 7: 0}

    def read(size: int, page: int) -> list[str]:
        records = api.export(project_id, f"?size={size}&page={page}")["records"]
        return [each["id"] for each in records]

    for _ in range(50):
        statement = (
            f"SELECT id FROM logs WHERE project_id = '{project_id}'"
            ' ORDER BY created_at DESC, "row" DESC'
        )
        every = [row[0] for row in query(database_url, statement)]
        for size, page in walks.items():
            if randomness.random() < 0.2:
                page = randomness.randrange(12)
            assert read(size, page) == every[page * size : (page + 1) * size]
            walks[size] = (page + 1) % 12
        moment = f"2024-01-{randomness.randrange(1, 28):02}T00:00:00Z"
        if randomness.random() < 0.6:
            new = {"created_at": moment} if randomness.random() < 0.5 else {}
            api.ok("POST", "/logs", [{**log, **new}] * randomness.choice([1, 3, SLICE + 1]))
        if randomness.random() < 0.2:
            api.log("another")


def test_the_next_page_is_found_from_the_one_before(own: Own) -> None:
    own.api.ok("POST", "/logs", [{"project": "p", "config": {"model": "m"}}] * 100)
    project_id = own.api.log("p")["project_id"]
    for page in range(8):
        with statements(own.database) as found:
            own.api.export(project_id, f"?size=10&page={page}")
        pages = [values(parameters) for statement, parameters in found if "OFFSET" in statement]
        [parameters] = [each for each in pages if 10 in each]
        assert parameters[-1] <= 9
        own.api.log("p")
