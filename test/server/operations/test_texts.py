"""Texts that no database, or not every one, can keep: refused at their places on all of them."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from humanloop.server.store.key_text import MAX_BYTES

from ..api import Api
from ..chatting import Own

CONFIG = {"model": "m"}
LOG = {"project": "p", "config": CONFIG}
RATING = {"type": "rating", "value": "KEY"}
TOO_LONG = "x" * (MAX_BYTES + 1)

NULS: list[tuple[str, Any, list[str | int]]] = [
    ("/projects", {"name": "\0"}, ["name"]),
    ("/logs", {**LOG, "output": "a\0b"}, ["output"]),
    ("/logs", {**LOG, "reference_id": "\0"}, ["reference_id"]),
    ("/logs", {**LOG, "user": "\\\0"}, ["user"]),
    ("/logs", {**LOG, "inputs": {"a": [{"b": ["", "\0"]}]}}, ["inputs", "a", 0, "b", 1]),
    ("/logs", {**LOG, "metadata": {"a": {"k\0": 1}}}, ["metadata", "a", "k\0"]),
    ("/logs", [LOG, {**LOG, "messages": [{"content": "\0"}]}], [1, "messages", 0, "content"]),
    ("/logs", {**LOG, "feedback": {"type": "rating", "value": "\0"}}, ["feedback", "value"]),
    ("/logs", {**LOG, "unknown": "\0"}, ["unknown"]),
    ("/chat", {"project": "p", "model_config": CONFIG, "messages": [], "inputs": {"\0": 1}},
     ["inputs", "\0"]),
]  # fmt: skip
"""Paths, bodies, and the places of U+0000 in them."""

KEYS: list[tuple[str, str, Any, list[str | int]]] = [
    ("POST", "/projects", {"name": "KEY"}, ["name"]),
    ("PATCH", "/projects/PROJECT", {"name": "KEY"}, ["name"]),
    ("POST", "/logs", {**LOG, "project": "KEY"}, ["project"]),
    ("POST", "/logs", {**LOG, "reference_id": "KEY"}, ["reference_id"]),
    ("POST", "/logs", {**LOG, "session_reference_id": "KEY"}, ["session_reference_id"]),
    ("POST", "/logs", {**LOG, "parent_reference_id": "KEY"}, ["parent_reference_id"]),
    ("POST", "/logs", [*[LOG] * 300, {**LOG, "reference_id": "KEY"}], [300, "reference_id"]),
    ("POST", "/logs", [*[LOG] * 300, {**LOG, "feedback": RATING}], [300, "feedback", "value"]),
    ("POST", "/feedback", {"data_id": "LOG", "type": "action", "value": "KEY"}, ["value"]),
    ("POST", "/model-configs", {"project": "KEY", **CONFIG}, ["project"]),
    ("POST", "/model-configs", {"project": "p", "experiment": "KEY", **CONFIG}, ["experiment"]),
    ("POST", "/projects/PROJECT/experiments", {"name": "KEY", "positive_labels": []}, ["name"]),
    ("POST", "/projects/PROJECT/experiments", {"name": "e", "positive_labels": [RATING]},
     ["positive_labels", 0, "value"]),
    ("POST", "/projects/PROJECT/feedback-types", {"type": "KEY"}, ["type"]),
    ("PATCH", "/projects/PROJECT/feedback-types",
     [{"type": "rating", "values": [{"value": "KEY"}]}], [0, "values", 0, "value"]),
]  # fmt: skip
"""Methods, paths and bodies with a KEY, and its place in them."""


class TestNul:
    """U+0000, which PostgreSQL does not keep."""

    def test_it_is_refused_at_its_place(self, own: Own) -> None:
        for path, body, place in NULS:
            assert own.api.places("POST", path, body) == [["body", *place]]
        assert own.api.ok("GET", "/projects")["records"] == []

    def test_every_place_is_told(self, api: Api, name: str) -> None:
        body = {"project": name, "config": CONFIG, "inputs": {"a": "\0", "b": "\0"}, "output": "\0"}
        places = [["inputs", "a"], ["inputs", "b"], ["output"]]
        assert api.places("POST", "/logs", [body]) == [["body", 0, *place] for place in places]

    def test_escapes_that_only_look_like_it_are_kept(self, api: Api, name: str) -> None:
        text = "\\u0000 \\\\u0000 \u2028"
        [record] = api.export(api.log(name, output=text)["project_id"])["records"]
        assert record["output"] == text

    @pytest.mark.parametrize(
        ("method", "path", "place"),
        [
            ("GET", "/projects/pr_%00", ["path", "id"]),
            ("GET", "/projects?filter=%00", ["query", "filter"]),
            ("GET", "/sessions?project_id=%00", ["query", "project_id"]),
            ("PATCH", "/logs?reference_id=a%00", ["query", "reference_id"]),
        ],
    )
    def test_it_is_refused_in_parameters(
        self, api: Api, method: str, path: str, place: list[str]
    ) -> None:
        assert api.places(method, path, {} if method == "PATCH" else None) == [place]


class TestKeys:
    """Names, reference ids and labels, which stand in indexes."""

    @pytest.mark.parametrize("unit", ["x", "\u00e9", "\u65e5", "\U0001f600", ""])
    def test_the_longest_are_kept(self, own: Own, unit: str) -> None:
        def key() -> str:
            size = len(unit.encode())
            return unit * (MAX_BYTES // size) if size else secrets.token_hex(MAX_BYTES // 2)

        label = {"type": "rating", "value": key()}
        keys = {"reference_id": key(), "session_reference_id": key()}
        project = key()
        logged = own.api.log(project, feedback=label, **keys)
        path = f"/projects/{logged['project_id']}"
        labels = [label, {"type": key(), "value": key()}]
        values = [{"value": labels[1]["value"]}]
        kind = {"type": labels[1]["type"], "values": values}
        own.api.ok("POST", f"{path}/feedback-types", kind)
        experiment = {"name": key(), "positive_labels": labels}
        made = own.api.ok("POST", f"{path}/experiments", experiment)
        assert made["positive_labels"] == labels
        [record] = own.api.export(logged["project_id"])["records"]
        assert {name: record[name] for name in keys} == keys
        assert record["project"] == project
        assert record["feedback"][0]["value"] == label["value"]

    @pytest.mark.parametrize(
        "key", [TOO_LONG, "\U0001f600" * 1000, secrets.token_hex(1500)], ids=["x", "emoji", "hex"]
    )
    def test_longer_ones_are_refused_at_their_place(self, own: Own, key: str) -> None:
        logged = own.api.log("p")
        message = f"got a key of {len(key.encode()):,} bytes in UTF-8, at most 2,500 can be stored"
        for method, path, body, place in KEYS:
            texts = {"KEY": key, "LOG": logged["id"]}
            answer = own.api.call(
                method, path.replace("PROJECT", logged["project_id"]), filled(body, texts)
            )
            assert answer.places == [["body", *place]]
            assert answer.body["detail"][0]["msg"] == message
        assert own.api.export(logged["project_id"])["total"] == 1

    def test_one_is_refused_in_a_query(self, own: Own) -> None:
        answer = own.api.call("PATCH", f"/logs?reference_id={TOO_LONG}", {"output": "x"})
        assert answer.places == [["query", "reference_id"]]

    def test_what_leads_to_nothing_may_be_longer(self, own: Own) -> None:
        comment = {"type": "comment", "value": TOO_LONG * 10}
        config = {"model": TOO_LONG, "name": TOO_LONG}
        logged = own.api.log("p", config=config, feedback=comment, user=TOO_LONG)
        [record] = own.api.export(logged["project_id"])["records"]
        assert record["feedback"][0]["value"] == comment["value"]
        emoji = "%F0%9F%98%80" * 1000
        assert own.api.ok("GET", f"/projects?filter={emoji}")["records"] == []


def filled(body: Any, texts: dict[str, str]) -> Any:
    """Replace names by texts."""
    if isinstance(body, dict):
        return {key: filled(each, texts) for key, each in body.items()}
    if isinstance(body, list):
        return [filled(each, texts) for each in body]
    return texts.get(body, body)
