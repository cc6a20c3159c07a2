"""Feedback: one value, a set or every text, new labels, numbers, and taking it back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from humanloop.model import FeedbackResponse

from ..api import Api


@pytest.fixture
def log_id(api: Api, name: str) -> str:
    """A new datapoint."""
    logged = api.log(name)
    number = {"type": "score", "class": "number"}
    api.ok("POST", f"/projects/{logged['project_id']}/feedback-types", number)
    return str(logged["id"])


def give(api: Api, log_id: str, kind: str, value: str, **keys: Any) -> Any:
    """Submit one feedback."""
    return api.ok("POST", "/feedback", {"data_id": log_id, "type": kind, "value": value, **keys})


def take_back(api: Api, log_id: str, kind: str, **keys: Any) -> Any:
    """Unset feedback."""
    body = {"data_id": log_id, "type": kind, "unset": True, **keys}
    return api.ok("POST", "/feedback", body)


def held(api: Api, log_id: str) -> list[tuple[str, Any]]:
    """The feedback on a datapoint."""
    found = api.ok("PATCH", f"/logs/{log_id}", {})
    return [(each["type"], each["value"]) for each in found["feedback"]]


def test_feedback_comes_back_with_an_id(api: Api, log_id: str) -> None:
    moment = "2024-01-01T00:00:00Z"
    given = FeedbackResponse(give(api, log_id, "rating", "good", user="ann", created_at=moment))
    assert given["id"].startswith("ann_")
    assert given.to_primitive() == {
        "id": given["id"],
        "type": "rating",
        "value": "good",
        "data_id": log_id,
        "user": "ann",
        "created_at": moment,
    }
    assert held(api, log_id) == [("rating", "good")]


def test_rating_holds_one_value(api: Api, log_id: str) -> None:
    give(api, log_id, "rating", "good")
    give(api, log_id, "rating", "bad")
    assert held(api, log_id) == [("rating", "bad")]


@pytest.mark.parametrize("kind", ["action", "issue"])
def test_action_and_issue_are_sets(api: Api, log_id: str, kind: str) -> None:
    first = give(api, log_id, kind, "a")
    give(api, log_id, kind, "b")
    assert give(api, log_id, kind, "a") == first
    assert held(api, log_id) == [(kind, "a"), (kind, "b")]


@pytest.mark.parametrize("kind", ["correction", "comment"])
def test_every_text_is_kept(api: Api, log_id: str, kind: str) -> None:
    give(api, log_id, kind, "one")
    give(api, log_id, kind, "one")
    assert held(api, log_id) == [(kind, "one"), (kind, "one")]


def test_a_number_holds_one_value_and_comes_back_as_a_number(api: Api, log_id: str) -> None:
    give(api, log_id, "score", "1")
    assert give(api, log_id, "score", "4.50")["value"] == 4.5
    assert held(api, log_id) == [("score", 4.5)]
    body = {"data_id": log_id, "type": "score", "value": "many"}
    assert api.places("POST", "/feedback", body) == [["body", "value"]]
    no_numbers = ("NaN", "Infinity", "1_000", " 5", "0x1", "\u0663", "1e99999999999999999999")
    for bad in (*no_numbers, "9" * 4301):
        assert api.places("POST", "/feedback", {**body, "value": bad}) == [["body", "value"]]


def test_an_unknown_label_is_added_as_unset(api: Api, name: str) -> None:
    logged = api.log(name)
    give(api, logged["id"], "issue", "too long")
    project = api.ok("GET", f"/projects/{logged['project_id']}")
    issue = next(each for each in project["feedback_types"] if each["type"] == "issue")
    assert issue["values"] == [{"value": "too long", "sentiment": "unset"}]


@pytest.mark.parametrize("kind", ["rating", "correction", "comment", "score"])
def test_unset_without_a_value(api: Api, log_id: str, kind: str) -> None:
    given = give(api, log_id, kind, "5")
    assert take_back(api, log_id, kind) == given
    assert held(api, log_id) == []


@pytest.mark.parametrize("kind", ["action", "issue"])
def test_unsetting_one_of_a_set_needs_its_value(api: Api, log_id: str, kind: str) -> None:
    give(api, log_id, kind, "a")
    give(api, log_id, kind, "b")
    body = {"data_id": log_id, "type": kind, "unset": True}
    assert api.places("POST", "/feedback", body) == [["body", "value"]]
    assert take_back(api, log_id, kind, value="a")["value"] == "a"
    assert held(api, log_id) == [(kind, "b")]


def test_unsetting_what_is_not_there_is_refused(api: Api, log_id: str) -> None:
    body = {"data_id": log_id, "type": "rating", "unset": True}
    assert api.places("POST", "/feedback", body) == [["body", "unset"]]
    give(api, log_id, "rating", "good")
    assert api.places("POST", "/feedback", {**body, "value": "bad"}) == [["body", "unset"]]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"type": "rating", "value": "good"}, "data_id"),
        ({"type": "rating", "value": "good", "data_id": "data_x"}, "data_id"),
        ({"type": "rating", "data_id": "known"}, "value"),
        ({"type": "mood", "value": "x", "data_id": "known"}, "type"),
    ],
)
def test_bad_feedback_is_refused_at_its_place(
    api: Api, log_id: str, body: dict[str, Any], place: str
) -> None:
    if body.get("data_id") == "known":
        body = {**body, "data_id": log_id}
    assert api.places("POST", "/feedback", body) == [["body", place]]
    good = {"data_id": log_id, "type": "rating", "value": "good"}
    assert api.places("POST", "/feedback", [good, body]) == [["body", 1, place]]
    assert held(api, log_id) == []


def test_an_array_gets_an_array(api: Api, log_id: str) -> None:
    body = [
        {"data_id": log_id, "type": "rating", "value": "good"},
        {"data_id": log_id, "type": "action", "value": "copied"},
    ]
    answers = api.ok("POST", "/feedback", body)
    assert [each["value"] for each in answers] == ["good", "copied"]
    assert len(held(api, log_id)) == 2


@pytest.mark.parametrize(
    "given",
    [{"type": "rating", "value": "good"}, [{"type": "rating", "value": "good", "user": "ann"}]],
)
def test_feedback_can_come_with_the_log(api: Api, name: str, given: Any) -> None:
    assert held(api, api.log(name, feedback=given)["id"]) == [("rating", "good")]


def test_feedback_of_one_log_follows_the_rules_of_its_types(api: Api, name: str) -> None:
    given = [("rating", "good"), ("issue", "a"), ("rating", "odd"), ("issue", "a"), ("issue", "b")]
    logged = api.log(name, feedback=[{"type": kind, "value": value} for kind, value in given])
    assert held(api, logged["id"]) == [("issue", "a"), ("rating", "odd"), ("issue", "b")]


def test_a_number_is_a_label_by_its_digits(api: Api, name: str) -> None:
    logged = api.log(name, feedback=[{"type": "rating", "value": 5}])
    assert held(api, logged["id"]) == [("rating", "5")]


class TestSentAgain:
    """Feedback that is sent again, since nobody knows of an answer."""

    def give_again(self, api: Api, log_id: str, kind: str, value: str, **keys: Any) -> Any:
        """Submit one feedback with the header of those that are sent again."""
        body = {"data_id": log_id, "type": kind, "value": value, **keys}
        headers = {"content_type": "application/json", "x_retry_count": "1"}
        return api.send("POST", "/feedback", json.dumps(body).encode(), **headers).body

    @pytest.mark.parametrize(
        ("kind", "value"), [("comment", "c"), ("rating", "good"), ("action", "copied")]
    )
    def test_it_adds_nothing(self, api: Api, log_id: str, kind: str, value: str) -> None:
        keys = {"created_at": "2026-01-01T00:00:00Z", "user": "ann"}
        first = self.give_again(api, log_id, kind, value, **keys)
        assert self.give_again(api, log_id, kind, value, **keys) == first
        assert held(api, log_id) == [(kind, value)]

    @pytest.mark.parametrize(
        "other", [{"user": "bob"}, {"created_at": "2026-01-02T00:00:00Z"}, {"value": "d"}]
    )
    def test_another_comment_is_added(self, api: Api, log_id: str, other: dict[str, str]) -> None:
        keys = {"value": "c", "created_at": "2026-01-01T00:00:00Z", "user": "ann"}
        first = self.give_again(api, log_id, "comment", **keys)
        assert self.give_again(api, log_id, "comment", **{**keys, **other})["id"] != first["id"]
        assert len(held(api, log_id)) == 2

    def test_it_takes_not_the_place_of_a_later_one(self, api: Api, log_id: str) -> None:
        moments = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]
        self.give_again(api, log_id, "rating", "bad", created_at=moments[0])
        self.give_again(api, log_id, "rating", "good", created_at=moments[1])
        self.give_again(api, log_id, "rating", "bad", created_at=moments[0])
        assert held(api, log_id) == [("rating", "good")]


class TestByReference:
    """Feedback that names its log by the reference id."""

    def submit(self, api: Api, body: Any, value: str = "reference_id") -> Any:
        """Submit feedback with the header."""
        headers = {"content_type": "application/json", "x_data_reference": value}
        return api.send("POST", "/feedback", json.dumps(body).encode(), **headers)

    def test_it_is_on_the_log(self, api: Api, name: str) -> None:
        logged = [api.log(name, reference_id=f"{name} {number}") for number in range(2)]
        note = {"type": "rating", "value": "good"}
        body = [{**note, "data_id": f"{name} {number}"} for number in range(2)]
        answers = self.submit(api, body).body
        assert [each["data_id"] for each in answers] == [each["id"] for each in logged]
        assert held(api, logged[1]["id"]) == [("rating", "good")]
        back = {"data_id": f"{name} 1", "type": "rating", "unset": True}
        assert self.submit(api, back).status == 200
        assert held(api, logged[1]["id"]) == []

    def test_an_unknown_reference_is_told(self, api: Api, name: str, log_id: str) -> None:
        note = {"type": "rating", "value": "good"}
        answer = self.submit(api, [{**note, "data_id": log_id}])
        assert answer.places == [["body", 0, "data_id"]]
        assert "reference id" in answer.text
        assert self.submit(api, {**note, "data_id": log_id}, "id").status == 200
