"""Query plans: databases find rows by an index, within the organisation, and scan no table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from humanloop import cli
from humanloop.server import EmbeddedServer, Settings
from humanloop.server.store import retention, urls
from humanloop.server.store.database import joined
from humanloop.server.store.tables import Base
from humanloop.server.store.times import now

from ..api import API_KEY, Api
from ..databases import statements
from .test_evaluations import Setup
from .test_lists import experiment

PART = re.compile(r"(SCAN|SEARCH) (\w+?)(?:_\d+)?(?: |$)")
LED = "organization_id"
THE_ONE = "organizations"
"""The table that is read without the organisation's id, to find that id."""

TABLES = set(Base.metadata.tables) - {THE_ONE}
OURS = re.compile(rf"(SELECT|UPDATE|DELETE)(?s:.*)\b({'|'.join(TABLES)})\b")


def use(api: Api) -> None:
    """Do what is done often."""
    body = {"project": "p", "config": {"model": "m"}, "session_reference_id": "s"}
    feedback = {"type": "rating", "value": "good"}
    first = api.ok("POST", "/logs", {**body, "reference_id": "r", "feedback": feedback})
    parent = {"parent_reference_id": "r", "session_id": first["session_id"]}
    api.log("p", **parent)
    api.ok("POST", "/logs", [{**body, "reference_id": f"r{each}"} for each in range(300)])
    api.ok("PATCH", f"/logs/{first['id']}", {"output": "x"})
    api.ok("PATCH", "/logs?reference_id=r", {"output": "x"})
    for key in ("value", "unset"):
        wanted = {"data_id": first["id"], **feedback, key: {"value": "bad", "unset": True}[key]}
        api.call("POST", "/feedback", wanted)
    project_id = first["project_id"]
    path = f"/projects/{project_id}"
    experiment(api, project_id, "e")
    [made] = api.ok("GET", f"{path}/experiments")
    api.ok("GET", f"{path}/active-config")
    api.ok("PATCH", path, {"active_experiment_id": made["id"]})
    api.ok("GET", f"{path}/active-config")
    for page in range(3):
        api.export(project_id, f"?size=50&page={page}")
    for each in ("", "/configs", "/deployed-configs"):
        api.ok("GET", path + each)
    api.ok("GET", "/projects?size=10&page=0")
    api.ok("GET", f"/sessions?project_id={project_id}")
    api.ok("GET", f"/sessions/{first['session_id']}")
    api.ok("GET", f"/model-configs/{made['configs'][0]['id']}")
    config = {"provider": "mock", "model": "m"}
    api.ok("POST", "/chat", {"project": "p", "messages": [], "model_config": config})
    assert api.call("DELETE", f"/experiments/{made['id']}").status == 204


def evaluate(api: Api) -> None:
    """Do what is done with testsets, evaluators and evaluations."""
    setup = Setup(api, "evaluated")
    made = setup.say(*(str(each) for each in range(300)))
    api.ok("POST", f"/testsets/{setup.testset_id}/testcases", [{}] * 300)
    datapoint = api.log("evaluated", output="x")["id"]
    api.ok("POST", f"/testsets/{setup.testset_id}/testcases", {"datapoint_ids": [datapoint]})
    assert api.call("DELETE", "/testcases", [each["id"] for each in made[3:]]).status == 204
    project = f"/projects/{setup.project_id}"
    testset = api.ok("POST", f"{project}/testsets", {"name": "u", "description": ""})
    small = setup.testset_id
    setup.testset_id = testset["id"]
    made = setup.say(*"abc")
    setup.evaluator()
    evaluation_id = setup.start()
    setup.ended(evaluation_id)
    setup.cases(evaluation_id)
    for each in ("testsets", "evaluations?evaluator_aggregates=true", "active-config"):
        api.ok("GET", f"{project}/{each}")
    api.ok("GET", f"{project}/configs?evaluation_aggregates=true")
    api.ok("GET", f"/testsets/{small}/testcases")
    path = f"/testcases/{made[0]['id']}"
    api.ok("GET", path)
    api.ok("PATCH", path, {"inputs": {}})
    api.ok("PATCH", f"/testsets/{small}", {"name": "v"})
    api.ok("DELETE", f"/testsets/{testset['id']}")
    api.ok("GET", "/evaluators")
    api.ok("PATCH", f"/evaluators/{setup.evaluator_ids[0]}", {"name": "renamed"})
    assert api.call("DELETE", f"/evaluators/{setup.evaluator_ids[0]}").status == 204


def look_after(api: Api, database: str, directory: Path) -> None:
    """Do what commands do beside a server."""
    for name in ("p", "q"):
        logged = api.log(name, session_reference_id=name, feedback={"type": "rating", "value": "x"})
        experiment(api, logged["project_id"], name)

    def run(*arguments: str) -> None:
        assert cli.main([*arguments, "--database", database]) == 0

    exported = str(directory / "logs.jsonl")
    run("projects")
    run("tail", "p", "--no-follow")
    run("export", "p", "--since", "2020-01-01", "-o", exported)
    run("export", "-o", exported, "--force")
    run("import", exported, "--project", "copy")
    run("delete", "log", json.loads(Path(exported).read_text().splitlines()[0])["id"])
    run("import", exported)
    run("delete", "project", "p", "--yes")
    run("prune", "--keep", "1h", "--project", "q")
    with joined(database) as opened:
        retention.count(opened, now())
        assert retention.prune(opened, now()).logs == 6


def test_every_row_is_found_by_an_index_within_the_organisation(
    database_url: str, tmp_path: Path
) -> None:
    settings = Settings(sampling="thompson")
    with EmbeddedServer(database_url, api_key=API_KEY, settings=settings) as server:
        with statements(database_url) as sent:
            use(Api(server.url))
            evaluate(Api(server.url))
            look_after(Api(server.url), database_url, tmp_path)
        seen = {each: given for each, given in sent if OURS.match(each)}
        explain = explain_sqlite if database_url.startswith("sqlite") else explain_postgresql
        engine = create_engine(urls.parse(database_url))
        with closing(engine.connect()) as connection:
            bad = {
                statement: found
                for statement, given in seen.items()
                if (found := list(explain(connection, statement, first(given))))
            }
        engine.dispose()
    assert bad == {}
    assert len(seen) > 40


def first(parameters: Any) -> Any:
    """The parameters of the first row, where there are many."""
    return parameters[0] if isinstance(parameters, list) else parameters


def explain_sqlite(connection: Any, statement: str, parameters: Any) -> Iterator[str]:
    """Yield the steps of the plan that do not start with the organisation."""
    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
        step = PART.match(row[3])
        if step is not None and step[2] in TABLES and f"({LED}=?" not in row[3]:
            yield row[3]


def explain_postgresql(connection: Any, statement: str, parameters: Any) -> Iterator[str]:
    """Yield the parts of the plan that do not start with the organisation.

    Small tables are usually scanned, so the cost of scans is raised.
    """
    connection.exec_driver_sql("SET enable_seqscan = off")
    found = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    yield from _parts(found.scalar()[0]["Plan"])


def _parts(plan: dict[str, Any]) -> Iterator[str]:
    kind = plan["Node Type"]
    if plan.get("Relation Name") == THE_ONE:
        return
    if kind == "Seq Scan" or (
        kind.endswith(("Index Scan", "Only Scan")) and LED not in plan.get("Index Cond", "")
    ):
        yield str(plan)
    for each in plan.get("Plans", ()):
        yield from _parts(each)
