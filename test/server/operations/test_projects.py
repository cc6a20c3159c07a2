"""Projects: creating, reading, listing, updating, feedback types, configs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from humanloop.model import ProjectResponse
from humanloop.server import EmbeddedServer

from ..api import Api

ID = re.compile(r"[A-Za-z0-9]{21}")


def is_id(text: str, prefix: str) -> bool:
    """Return whether the text is an id of that kind."""
    return text.startswith(prefix) and ID.fullmatch(text.removeprefix(prefix)) is not None


def feedback_type(project: Any, name: str) -> Any:
    """A project's feedback type by its name."""
    return next(each for each in project["feedback_types"] if each["type"] == name)


def test_a_new_project_is_201_and_complete(api: Api, name: str) -> None:
    answer = api.call("POST", "/projects", {"name": name})
    assert answer.status == 201
    project = ProjectResponse(answer.body)
    assert project["name"] == name
    assert is_id(project["id"], "pr_")
    assert is_id(project["team_id"], "org_")
    assert is_id(project["users"][0]["id"], "usr_")
    assert project["data_count"] == 0
    assert project["created_at"].endswith("Z")
    assert "active_config" not in project
    assert "config_type" not in project
    assert api.ok("GET", f"/projects/{project['id']}") == answer.body


def test_a_project_starts_with_the_default_feedback_types(project: Any) -> None:
    types = {each["type"]: each.get("values") for each in project["feedback_types"]}
    assert types.keys() == {"rating", "action", "issue", "correction", "comment"}
    assert {"value": "good", "sentiment": "positive"} in types["rating"]
    assert types["action"] == types["issue"] == []
    assert types["correction"] is types["comment"] is None


def test_feedback_types_given_at_creation_add_to_the_default_ones(api: Api, name: str) -> None:
    tone = {"type": "tone", "class": "multi_select", "values": [{"value": "warm"}]}
    rating = {"type": "rating", "values": [{"value": "fair", "sentiment": "neutral"}]}
    project = api.ok("POST", "/projects", {"name": name, "feedback_types": [tone, rating]})
    assert feedback_type(project, "tone")["values"] == [{"value": "warm", "sentiment": "unset"}]
    assert {"value": "fair", "sentiment": "neutral"} in feedback_type(project, "rating")["values"]
    assert len(feedback_type(project, "rating")["values"]) == 3


@pytest.mark.parametrize("bad", ["", "  "])
def test_an_empty_name_is_refused(api: Api, bad: str) -> None:
    assert api.places("POST", "/projects", {"name": bad}) == [["body", "name"]]


def test_a_taken_name_is_refused(api: Api, project: Any) -> None:
    assert api.places("POST", "/projects", {"name": project["name"]}) == [["body", "name"]]


def test_nothing_is_left_of_a_project_whose_feedback_types_are_bad(api: Api, name: str) -> None:
    bad = {"type": "comment", "values": [{"value": "x"}]}
    place = ["body", "feedback_types", 0, "values"]
    body = {"name": name, "feedback_types": [bad]}
    assert api.places("POST", "/projects", body) == [place]
    assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 0


@pytest.mark.parametrize("path", ["", "/configs", "/active-config", "/experiments"])
def test_an_unknown_project_is_404(api: Api, path: str) -> None:
    answer = api.call("GET", f"/projects/pr_unknown{path}")
    assert answer.status == 404
    assert answer.body == {"detail": "There is no project 'pr_unknown'."}


class TestList:
    """A server of its own, so that the numbers are known."""

    @pytest.fixture(scope="class")
    @staticmethod
    def own(tmp_path_factory: pytest.TempPathFactory) -> Any:
        path = tmp_path_factory.mktemp("list") / "own.db"
        with EmbeddedServer(f"sqlite:///{path}") as server:
            api = Api(server.url, server.api_key)
            for name in ["b", "A", "c", "100%", "1000", "\u00c9tude", *(f"n{i}" for i in range(6))]:
                api.ok("POST", "/projects", {"name": name})
            yield api

    @staticmethod
    def names(api: Api, query: str = "") -> list[str]:
        return [each["name"] for each in api.ok("GET", f"/projects?{query}")["records"]]

    def test_pages_start_at_0_with_10_records_newest_first(self, own: Api) -> None:
        first = own.ok("GET", "/projects")
        assert (first["page"], first["size"], first["total"]) == (0, 10, 12)
        assert [each["name"] for each in first["records"]][:3] == ["n5", "n4", "n3"]
        second = own.ok("GET", "/projects?page=1")
        assert [each["name"] for each in second["records"]] == ["A", "b"]

    def test_the_pages_hold_every_record_once(self, own: Api) -> None:
        names = [name for page in range(4) for name in self.names(own, f"size=3&page={page}")]
        assert len(names) == len(set(names)) == 12

    def test_a_page_beyond_the_end_is_empty(self, own: Api) -> None:
        assert self.names(own, "page=2") == []
        assert self.names(own, "page=999999999999999999") == []

    def test_a_size_over_the_cap_is_taken_as_the_cap(self, own: Api) -> None:
        page = own.ok("GET", "/projects?size=1000000")
        assert page["size"] == 100
        assert len(page["records"]) == 12

    def test_order(self, own: Api) -> None:
        assert self.names(own, "sort_by=name&order=asc&size=4") == ["100%", "1000", "A", "b"]
        assert self.names(own, "order=asc&size=2") == ["b", "A"]

    def test_updated_at_moves_a_project_up(self, own: Api) -> None:
        oldest = own.ok("GET", "/projects?order=asc&size=1")["records"][0]
        own.ok("PATCH", f"/projects/{oldest['id']}", {"name": "b"})
        assert self.names(own, "sort_by=updated_at&size=1") == ["b"]

    @pytest.mark.parametrize(
        ("text", "found"),
        [("N", 6), ("%25", 1), ("_", 0), ("%C3%A9TUDE", 1), ("a", 1), ("zzz", 0), ("", 12)],
    )
    def test_filter_is_part_of_the_name_in_any_case(self, own: Api, text: str, found: int) -> None:
        assert own.ok("GET", f"/projects?filter={text}")["total"] == found

    def test_user_filter_matches_the_creators_email_address(self, own: Api) -> None:
        assert own.ok("GET", "/projects?user_filter=USER1@")["total"] == 12
        assert own.ok("GET", "/projects?user_filter=nobody")["total"] == 0

    def test_organization_id(self, own: Api) -> None:
        team = own.ok("GET", "/projects")["records"][0]["team_id"]
        assert own.ok("GET", f"/projects?organization_id={team}")["total"] == 12
        assert own.ok("GET", "/projects?organization_id=org_other")["total"] == 0


def test_rename(api: Api, project: Any, name: str) -> None:
    path = f"/projects/{project['id']}"
    renamed = api.ok("PATCH", path, {"name": f"{name} renamed"})
    assert renamed["name"] == f"{name} renamed"
    assert renamed["updated_at"] > project["updated_at"]
    assert api.ok("PATCH", path, {"name": f"{name} renamed"})["name"] == f"{name} renamed"


def test_renaming_to_a_taken_name_is_refused(api: Api, project: Any, name: str) -> None:
    api.log(f"{name} other")
    path = f"/projects/{project['id']}"
    assert api.places("PATCH", path, {"name": f"{name} other"}) == [["body", "name"]]


def test_the_full_list_of_positive_labels_replaces_the_old_one(api: Api, project: Any) -> None:
    labels = [{"type": "action", "value": "copied"}, {"type": "rating", "value": "bad"}]
    updated = api.ok("PATCH", f"/projects/{project['id']}", {"positive_labels": labels})
    rating = {
        each["value"]: each["sentiment"] for each in feedback_type(updated, "rating")["values"]
    }
    assert rating == {"good": "unset", "bad": "positive"}
    action = feedback_type(updated, "action")["values"]
    assert action == [{"value": "copied", "sentiment": "positive"}]


@pytest.mark.parametrize("kind", ["comment", "unknown"])
def test_positive_labels_need_a_type_with_labels(api: Api, project: Any, kind: str) -> None:
    body = {"positive_labels": [{"type": kind, "value": "x"}]}
    place = ["body", "positive_labels", 0, "type"]
    assert api.places("PATCH", f"/projects/{project['id']}", body) == [place]


def test_create_feedback_type(api: Api, project: Any) -> None:
    path = f"/projects/{project['id']}/feedback-types"
    body = {"type": "tone", "values": [{"value": "warm", "sentiment": "positive"}]}
    answer = api.call("POST", path, body)
    assert answer.status == 201
    assert answer.body == body
    assert api.places("POST", path, body) == [["body", "type"]]
    assert api.places("POST", path, {"type": "rating"}) == [["body", "type"]]


def test_update_feedback_types_adds_and_changes_labels(api: Api, project: Any) -> None:
    path = f"/projects/{project['id']}/feedback-types"
    good = {"value": "good", "sentiment": "neutral"}
    body = [{"type": "rating", "values": [good, {"value": "ok"}]}, {"type": "new"}]
    types = {each["type"]: each for each in api.ok("PATCH", path, body)}
    assert types["rating"]["values"] == [
        good,
        {"value": "bad", "sentiment": "negative"},
        {"value": "ok", "sentiment": "unset"},
    ]
    assert types["new"]["values"] == []
    assert len(types) == 6


def test_update_feedback_types_is_all_or_nothing(api: Api, project: Any) -> None:
    path = f"/projects/{project['id']}/feedback-types"
    body = [{"type": "new"}, {"type": "comment", "class": "select"}]
    assert api.places("PATCH", path, body) == [["body", 1, "class"]]
    assert len(api.ok("GET", f"/projects/{project['id']}")["feedback_types"]) == 5


def test_data_count_and_config_type(api: Api, project: Any) -> None:
    api.log(project["name"], config={"type": "generic", "name": "g"})
    api.log(project["name"])
    after = api.ok("GET", f"/projects/{project['id']}")
    assert after["data_count"] == 2
    assert after["config_type"] == "generic"
