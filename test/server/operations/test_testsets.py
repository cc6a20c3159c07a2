"""Testsets and testcases: by hand, in arrays, from datapoints, in pages, changed and deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from humanloop.model import TestcaseResponse as Testcase
from humanloop.model import TestsetResponse as Testset_
from humanloop.server import EmbeddedServer
from humanloop.server.operations.calls import SLICE

from ..api import API_KEY, Api

CASE = {
    "inputs": {"topic": "tea"},
    "messages": [{"role": "user", "content": "Hi"}],
    "target": {"output": "x", "score": 0.1, "tags": ["a"], "flag": True, "deep": {"a": None}},
}


@pytest.fixture
def testset(api: Api, project: Any) -> Any:
    """An empty testset."""
    body = {"name": "t", "description": "d"}
    return api.ok("POST", f"/projects/{project['id']}/testsets", body)


def add(api: Api, testset: Any, body: Any) -> Any:
    """Add testcases."""
    return api.ok("POST", f"/testsets/{testset['id']}/testcases", body)


def page(api: Api, testset: Any, query: str = "") -> Any:
    """A page of testcases."""
    return api.ok("GET", f"/testsets/{testset['id']}/testcases{query}")


def test_a_new_testset_is_empty(api: Api, project: Any, testset: Any) -> None:
    assert Testset_(testset)["id"].startswith("evts_")
    assert testset["project_id"] == project["id"]
    assert (testset["name"], testset["description"]) == ("t", "d")
    assert testset["testcase_count"] == 0
    assert api.ok("GET", f"/testsets/{testset['id']}") == testset
    assert page(api, testset) == {"records": [], "page": 0, "size": 50, "total": 0}


def test_testsets_are_listed_newest_first(api: Api, project: Any, testset: Any) -> None:
    path = f"/projects/{project['id']}/testsets"
    other = api.ok("POST", path, {"name": "u", "description": ""})
    assert api.ok("GET", path) == [other, testset]
    assert api.call("GET", "/projects/pr_x/testsets").status == 404


def test_a_name_is_taken_once_in_a_project(api: Api, project: Any, testset: Any, name: str) -> None:
    body = {"name": "t", "description": ""}
    path = f"/projects/{project['id']}/testsets"
    assert api.places("POST", path, body) == [["body", "name"]]
    assert api.places("POST", path, {**body, "name": " "}) == [["body", "name"]]
    other = api.ok("POST", "/projects", {"name": f"{name} other"})
    second = api.ok("POST", f"/projects/{other['id']}/testsets", {**body, "name": "u"})
    assert api.ok("PATCH", f"/testsets/{second['id']}", {"name": "t"})["name"] == "t"
    third = api.ok("POST", path, {**body, "name": "v"})
    assert api.places("PATCH", f"/testsets/{third['id']}", body) == [["body", "name"]]


def test_what_a_testset_says_of_itself_can_change(api: Api, testset: Any) -> None:
    path = f"/testsets/{testset['id']}"
    renamed = api.ok("PATCH", path, {"name": "n"})
    assert (renamed["name"], renamed["description"]) == ("n", "d")
    cleared = api.ok("PATCH", path, {"description": None})
    assert "description" not in cleared
    assert cleared["updated_at"] > testset["updated_at"]
    assert api.places("PATCH", path, {"name": None}) == [["body", "name"]]


def test_a_testcase_keeps_what_it_was_given(api: Api, testset: Any) -> None:
    [made] = add(api, testset, CASE)
    assert Testcase(made)["id"].startswith("evtc_")
    assert made["testset_id"] == testset["id"]
    assert {key: made[key] for key in CASE} == CASE
    assert api.ok("GET", f"/testcases/{made['id']}") == made
    assert page(api, testset)["records"] == [made]
    assert api.ok("GET", f"/testsets/{testset['id']}")["testcase_count"] == 1


def test_a_testcase_may_hold_nothing(api: Api, testset: Any) -> None:
    [made] = add(api, testset, {})
    assert not {"inputs", "messages", "target"} & made.keys()


@pytest.mark.parametrize("number", [1, 3, SLICE, 2 * SLICE + 1])
def test_an_array_keeps_its_order(api: Api, testset: Any, number: int) -> None:
    made = add(api, testset, [{"inputs": {"n": str(n)}} for n in range(number)])
    assert [each["inputs"]["n"] for each in made] == [str(n) for n in range(number)]
    assert api.ok("GET", f"/testsets/{testset['id']}")["testcase_count"] == number
    last = page(api, testset, f"?size=100&page={(number - 1) // 100}")
    assert last["total"] == number
    assert last["records"] == made[(number - 1) // 100 * 100 :]


@pytest.mark.parametrize("number", [2, 2 * SLICE])
def test_an_array_is_added_whole_or_not_at_all(api: Api, testset: Any, number: int) -> None:
    body = [{"inputs": {"n": "1"}}] * number
    path = f"/testsets/{testset['id']}/testcases"
    deep: Any = "x"
    for _ in range(195):
        deep = [deep]
    assert api.call("POST", path, [*body, {"target": {"a": deep}}]).status == 422
    assert page(api, testset)["total"] == 0
    assert api.call("POST", "/testsets/evts_x/testcases", body).status == 404


def test_pages_start_at_0(api: Api, testset: Any) -> None:
    made = add(api, testset, [{"inputs": {"n": str(n)}} for n in range(5)])
    assert page(api, testset, "?size=2&page=1")["records"] == made[2:4]
    assert page(api, testset, "?size=2&page=9")["records"] == []
    path = f"/testsets/{testset['id']}/testcases"
    assert api.places("GET", f"{path}?page=-1") == [["query", "page"]]


class TestFromDatapoints:
    """Logged datapoints become testcases."""

    def test_its_output_is_the_target(self, api: Api, name: str, testset: Any) -> None:
        inputs = {"a": "x", "b": 1.50, "c": {"d": [None]}}
        messages = [{"role": "user", "content": "Hi"}]
        logged = api.log(name, inputs=inputs, messages=messages, output="out")
        [made] = add(api, testset, {"datapoint_ids": [logged["id"]]})
        assert made["target"] == {"output": "out"}
        assert made["inputs"] == {"a": "x", "b": "1.5", "c": '{"d":[null]}'}
        assert made["messages"] == messages
        assert made["source_project_data_id"] == logged["id"]
        assert api.ok("GET", f"/testcases/{made['id']}") == made

    def test_without_an_output_there_is_no_target(self, api: Api, name: str, testset: Any) -> None:
        [made] = add(api, testset, {"datapoint_ids": [api.log(name)["id"]]})
        assert "target" not in made

    @pytest.mark.parametrize("number", [3, SLICE + 5])
    def test_many_keep_their_order(self, api: Api, name: str, testset: Any, number: int) -> None:
        body = [
            {"project": name, "config": {"model": "m"}, "output": str(n)} for n in range(number)
        ]
        ids = [each["id"] for each in api.ok("POST", "/logs", body)][::-1]
        made = add(api, testset, {"datapoint_ids": ids})
        assert [each["source_project_data_id"] for each in made] == ids
        assert made[0]["target"] == {"output": str(number - 1)}
        assert page(api, testset)["total"] == number

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ({"datapoint_ids": ["data_x"]}, ["body", "datapoint_ids", 0]),
            ({"datapoint_ids": []}, ["body", "datapoint_ids"]),
            ({"datapoint_ids": "data_x"}, ["body", "datapoint_ids"]),
            ({"datapoint_ids": ["data_x"], "inputs": {}}, ["body", "inputs"]),
            ([{"datapoint_ids": ["data_x"]}], ["body", 0, "datapoint_ids"]),
            ([], ["body"]),
        ],
    )
    def test_what_is_refused_adds_nothing(
        self, api: Api, testset: Any, body: Any, place: Any
    ) -> None:
        assert api.places("POST", f"/testsets/{testset['id']}/testcases", body) == [place]
        assert page(api, testset)["total"] == 0


class TestUpdate:
    """PATCH /testcases/{id}."""

    def test_what_is_not_given_stays(self, api: Api, testset: Any) -> None:
        [made] = add(api, testset, CASE)
        path = f"/testcases/{made['id']}"
        updated = api.ok("PATCH", path, {"target": {"output": "y"}})
        assert updated["updated_at"] > made["updated_at"]
        assert updated == {
            **made,
            "target": {"output": "y"},
            "updated_at": updated["updated_at"],
        }
        assert api.ok("GET", path) == updated

    @pytest.mark.parametrize("key", ["inputs", "messages", "target"])
    def test_a_null_clears(self, api: Api, testset: Any, key: str) -> None:
        [made] = add(api, testset, CASE)
        updated = api.ok("PATCH", f"/testcases/{made['id']}", {key: None})
        assert updated.keys() == made.keys() - {key}
        assert api.ok("GET", f"/testcases/{made['id']}") == updated

    def test_all_may_be_cleared_at_once(self, api: Api, testset: Any) -> None:
        [made] = add(api, testset, CASE)
        updated = api.ok("PATCH", f"/testcases/{made['id']}", dict.fromkeys(CASE))
        assert not CASE.keys() & updated.keys()

    def test_its_place_stays(self, api: Api, testset: Any) -> None:
        made = add(api, testset, [CASE] * 3)
        updated = api.ok("PATCH", f"/testcases/{made[1]['id']}", {"inputs": {}})
        assert page(api, testset)["records"] == [made[0], updated, made[2]]

    def test_what_does_not_fit_is_refused(self, api: Api, testset: Any) -> None:
        [made] = add(api, testset, CASE)
        path = f"/testcases/{made['id']}"
        assert api.places("PATCH", path, {"inputs": {"a": 1}}) == [["body", "inputs", "a"]]
        assert api.places("PATCH", path, {"inputs": {"a": None}}) == [["body", "inputs", "a"]]
        assert api.ok("GET", path) == made


class TestDelete:
    """DELETE /testcases and /testsets/{id}."""

    def test_testcases_go_all_at_once(self, api: Api, testset: Any) -> None:
        made = [each["id"] for each in add(api, testset, [CASE] * 4)]
        answer = api.call("DELETE", "/testcases", [made[0], made[2], made[2]])
        assert (answer.status, answer.text) == (204, "")
        assert [each["id"] for each in page(api, testset)["records"]] == [made[1], made[3]]
        assert api.ok("GET", f"/testsets/{testset['id']}")["testcase_count"] == 2
        assert api.call("GET", f"/testcases/{made[0]}").status == 404
        assert api.call("PATCH", f"/testcases/{made[0]}", {}).status == 404

    def test_unknown_ones_are_named_and_none_goes(self, api: Api, testset: Any) -> None:
        [made] = add(api, testset, CASE)
        wanted = ["evtc_x", made["id"], "evtc_y"]
        assert api.places("DELETE", "/testcases", wanted) == [["body", 0], ["body", 2]]
        assert page(api, testset)["total"] == 1

    def test_many_of_several_testsets(self, api: Api, project: Any, testset: Any) -> None:
        body = {"name": "u", "description": ""}
        other = api.ok("POST", f"/projects/{project['id']}/testsets", body)
        ids = [
            each["id"]
            for target in (testset, other)
            for each in add(api, target, [CASE] * (2 * SLICE + 100))
        ]
        assert api.call("DELETE", "/testcases", ids[1:-1]).status == 204
        assert page(api, testset)["total"] == page(api, other)["total"] == 1

    def test_none_is_fine(self, api: Api) -> None:
        assert api.call("DELETE", "/testcases", []).status == 204

    def test_a_deleted_testset_is_answered(
        self, api: Api, project: Any, testset: Any, gone: Callable[[str], None]
    ) -> None:
        [made] = add(api, testset, CASE)
        now = api.ok("GET", f"/testsets/{testset['id']}")
        assert api.ok("DELETE", f"/testsets/{testset['id']}") == now
        assert now["testcase_count"] == 1
        gone(f"/testsets/{testset['id']}")
        gone(f"/testsets/{testset['id']}/testcases")
        gone(f"/testcases/{made['id']}")
        assert api.ok("GET", f"/projects/{project['id']}/testsets") == []
        assert api.call("DELETE", f"/testsets/{testset['id']}").status == 404
        body = {"name": testset["name"], "description": ""}
        assert api.ok("POST", f"/projects/{project['id']}/testsets", body)["testcase_count"] == 0


def test_what_an_array_has_left_half_way_is_deleted_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        own = Api(server.url)
        project = own.ok("POST", "/projects", {"name": "p"})
        body = {"name": "t", "description": ""}
        testset = own.ok("POST", f"/projects/{project['id']}/testsets", body)
        made = add(own, testset, [CASE] * 2)
    with closing(sqlite3.connect(path)) as connection, connection:
        half_way = "UPDATE testcase_versions SET testset_id = NULL WHERE testcase_id = ?"
        connection.execute(half_way, [made[1]["id"]])
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        assert page(Api(server.url), testset)["records"] == made[:1]
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT testcase_id FROM testcase_versions").fetchall()
    assert found == [(made[0]["id"],)]


@pytest.fixture
def gone(api: Api) -> Callable[[str], None]:
    """Check that nothing is there any more."""

    def check(path: str) -> None:
        assert api.call("GET", path).status == 404

    return check


def test_what_is_wrong_with_a_testcase_is_told_at_its_place(api: Api, testset: Any) -> None:
    path = f"/testsets/{testset['id']}/testcases"
    body = {"messages": [{"role": "wizard", "content": "x"}]}
    assert api.places("POST", path, body) == [["body", "messages", 0, "role"]]
