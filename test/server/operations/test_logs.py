"""Logs and sessions: what is kept, what they refer to, and that a refused one leaves nothing."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from typing import Any

import pytest

from humanloop.model import CreateLogResponse, LogResponse, SessionResponse
from humanloop.server.operations.calls import SLICE

from ..api import Api
from ..chatting import Own
from ..databases import query, statements, transactions

FULL: dict[str, Any] = {
    "inputs": {"name": "Zo\u00eb", "nested": {"list": [1, None, True]}},
    "messages": [{"role": "user", "content": "Hi"}],
    "output": "Hello \U0001f600",
    "source": "tests",
    "metadata": {"a": 1},
    "error": "slow",
    "duration": 1.25,
    "created_at": "2024-02-29T12:00:00+02:00",
}


def record(api: Api, logged: Any) -> Any:
    """A datapoint as the export has it."""
    records = api.export(logged["project_id"])["records"]
    return next(each for each in records if each["id"] == logged["id"])


def count(api: Api, name: str) -> int:
    """How many datapoints a project has, 0 when it does not exist."""
    projects = api.ok("GET", f"/projects?size=100&filter={name.replace(' ', '%20')}")["records"]
    return sum(each["data_count"] for each in projects if each["name"] == name)


def test_what_was_logged_comes_back(api: Api, name: str) -> None:
    logged = CreateLogResponse(api.log(name, reference_id=f"{name} ref", **FULL)).to_primitive()
    found = record(api, logged)
    LogResponse(found)
    assert found.pop("config")["model"] == "m"
    model_config = found.pop("model_config")
    assert model_config["project_name"] == name
    assert found == {
        **FULL,
        "id": logged["id"],
        "project": name,
        "project_id": logged["project_id"],
        "reference_id": f"{name} ref",
        "created_at": "2024-02-29T10:00:00Z",
        "feedback": [],
    }


def test_a_minimal_log_has_no_nulls(api: Api, name: str) -> None:
    before = datetime.now(timezone.utc)
    found = record(api, api.log(name))
    assert found.keys() == {
        "id", "config", "project", "project_id", "inputs", "feedback", "created_at", "model_config"
    }  # fmt: skip
    created_at = datetime.fromisoformat(found["created_at"].replace("Z", "+00:00"))
    assert before <= created_at <= datetime.now(timezone.utc)


def test_only_a_model_config_has_the_key_model_config(api: Api, name: str) -> None:
    assert "model_config" not in record(api, api.log(name, config={"type": "generic"}))


def test_numbers_keep_every_digit(api: Api, name: str) -> None:
    number = "0.1234567890123456789012345678901234567890"
    body = (
        f'{{"project": "{name}", "config": {{"model": "m"}}, "duration": {number}, '
        f'"inputs": {{"x": {number}, "big": 123456789012345678901234567890, "e": 1.50e400}}}}'
    )
    logged = api.send("POST", "/logs", body.encode(), content_type="application/json").body
    text = api.call("POST", f"/projects/{logged['project_id']}/export").text
    assert f'"duration":{number}' in text
    assert f'"x":{number},"big":123456789012345678901234567890,"e":1.50E+400' in text


def test_an_array_gets_an_array_in_the_same_order(api: Api, name: str) -> None:
    item = {"project": name, "config": {"model": "m"}}
    body = [{**item, "output": str(number)} for number in range(5)]
    ids = [each["id"] for each in api.ok("POST", "/logs", body)]
    records = api.export(api.log(name)["project_id"])["records"]
    assert [each["id"] for each in records[1:]] == ids[::-1]
    assert [each["output"] for each in records[1:]] == ["4", "3", "2", "1", "0"]
    assert api.ok("POST", "/logs", []) == []
    assert isinstance(api.ok("POST", "/logs", [item]), list)


def test_an_array_is_logged_all_or_nothing(api: Api, name: str) -> None:
    good = {"project": name, "config": {"model": "m"}, "session_reference_id": f"{name} s"}
    bad = {**good, "feedback": [{"type": "rating", "value": "good"}, {"type": "x", "value": "y"}]}
    place = ["body", 2, "feedback", 1, "type"]
    assert api.places("POST", "/logs", [good, good, bad]) == [place]
    assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 0


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"config": {"model": "m"}}, "project"),
        ({"config": {"model": "m"}, "project_id": "pr_x"}, "project_id"),
        ({"config": {"model": "m"}, "project": ""}, "project"),
        ({"project": "p"}, "config"),
        ({"project": "p", "trial_id": "trial_x"}, "trial_id"),
        ({"project": "p", "config": {"model": "m"}, "session_id": "sesh_x"}, "session_id"),
        ({"project": "p", "config": {"model": "m"}, "parent_id": "data_x"}, "parent_id"),
        (
            {"project": "p", "config": {"model": "m"}, "parent_reference_id": "x"},
            "parent_reference_id",
        ),
        (
            {
                "project": "p",
                "config": {"model": "m"},
                "parent_id": "x",
                "parent_reference_id": "x",
            },
            "parent_reference_id",
        ),
        (
            {
                "project": "p",
                "config": {"model": "m"},
                "session_id": "x",
                "session_reference_id": "x",
            },
            "session_reference_id",
        ),
        (
            {"project": "p", "config": {"model": "m"}, "created_at": "0001-01-01T00:00:00+23:00"},
            "created_at",
        ),
        ({"project": "p", "config": {"model": "m"}, "created_at": "yesterday"}, "created_at"),
        ({"project": "p", "config": {"model": "m"}, "output": None}, "output"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused_is_refused_at_its_place(
    api: Api, name: str, body: dict[str, Any], place: str
) -> None:
    named = {**body, "project": name} if body.get("project") else body
    assert api.places("POST", "/logs", named) == [["body", place]]
    assert count(api, name) == 0


def test_a_project_can_be_named_by_its_id(api: Api, project: Any) -> None:
    body = {"project_id": project["id"], "config": {"model": "m"}}
    assert api.ok("POST", "/logs", body)["project_id"] == project["id"]
    body["project"] = "another"
    assert api.places("POST", "/logs", body) == [["body", "project"]]


def test_a_reference_id_is_unique_in_the_organisation(api: Api, name: str) -> None:
    api.log(name, reference_id=f"{name} ref")
    again = {"project": f"{name} b", "config": {"model": "m"}, "reference_id": f"{name} ref"}
    assert api.places("POST", "/logs", again) == [["body", "reference_id"]]
    twice = [{**again, "reference_id": f"{name} new"}] * 2
    assert api.places("POST", "/logs", twice) == [["body", 1, "reference_id"]]
    assert count(api, f"{name} b") == 0


def test_a_request_that_is_repeated_finds_the_log_that_it_added(api: Api, name: str) -> None:
    def send(count: str, output: str, reference: str = "ref") -> Any:
        log = {"project": name, "config": {"model": "m"}, "output": output}
        data = json.dumps([{**log, "reference_id": f"{name} {reference}"}]).encode()
        return api.send("POST", "/logs", data, content_type="application/json", x_retry_count=count)

    first = send("0", "Hi")
    assert first.status == 200
    assert send("1", "Hi").body == first.body
    assert send("0", "Hi").places == [["body", 0, "reference_id"]]
    assert send("1", "Ho").places == [["body", 0, "reference_id"]]
    assert send("1", "Hi", "another").body != first.body
    assert api.export(first.body[0]["project_id"])["total"] == 2


def test_a_repeated_request_finds_its_log_though_that_was_changed(api: Api, name: str) -> None:
    log = {"project": name, "config": {"model": "m"}, "output": "Hi", "reference_id": name}

    def again(**changes: Any) -> Any:
        data, headers = json.dumps({**log, **changes}).encode(), {"x_retry_count": "1"}
        return api.send("POST", "/logs", data, content_type="application/json", **headers)

    first = again()
    api.ok("PATCH", f"/logs/{first.body['id']}", {"output": "changed", "error": "e"})
    assert again().body == first.body
    changes: list[dict[str, Any]] = [{"output": "Ho"}, {"inputs": {"a": 1}}, {"duration": 1}]
    for change in [*changes, {"config": {"model": "n"}}, {"created_at": "2026-01-01T00:00:00Z"}]:
        assert again(**change).places == [["body", "reference_id"]]
    assert record(api, first.body)["output"] == "changed"


def test_update_changes_output_error_and_duration_only(api: Api, name: str) -> None:
    logged = api.log(name, source="tests")
    path = f"/logs/{logged['id']}"
    updated = api.ok("PATCH", path, {"output": "late", "source": "changed"})
    LogResponse(updated)
    assert (updated["output"], updated["source"]) == ("late", "tests")
    updated = api.ok("PATCH", path, {"error": "e", "duration": 2})
    assert (updated["output"], updated["error"], updated["duration"]) == ("late", "e", 2)
    assert record(api, logged) == updated
    assert api.ok("PATCH", path, {}) == updated


def test_update_by_reference(api: Api, name: str) -> None:
    logged = api.log(name, reference_id=f"{name}/\u00e4")
    path = f"/logs?reference_id={name.replace(' ', '+')}%2F%C3%A4"
    assert api.ok("PATCH", path, {"output": "x"})["id"] == logged["id"]


@pytest.mark.parametrize("path", ["/logs/data_x", "/logs?reference_id=unknown"])
def test_updating_what_is_not_there_is_404(api: Api, path: str) -> None:
    assert api.call("PATCH", path, {"output": "x"}).status == 404


def test_a_null_in_an_update_is_refused(api: Api, name: str) -> None:
    path = f"/logs/{api.log(name)['id']}"
    assert api.places("PATCH", path, {"output": None}) == [["body", "output"]]


def test_export_pages_newest_first(api: Api, name: str) -> None:
    times = ["2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"]
    [project_id] = {api.log(name, created_at=moment)["project_id"] for moment in times}
    for _ in range(9):
        api.log(name)
    first = api.ok("POST", f"/projects/{project_id}/export")
    assert (first["page"], first["size"], first["total"]) == (0, 10, 12)
    second = api.export(project_id, "?page=1")
    assert [each["created_at"] for each in second["records"]] == times[:2]
    pages = [api.export(project_id, f"?page={page}&size=5")["records"] for page in range(3)]
    assert len({each["id"] for page in pages for each in page}) == 12


def test_exporting_takes_no_more_queries_for_more_logs(own: Own) -> None:
    feedback = [{"type": "rating", "value": "good"}, {"type": "comment", "value": "c"}]
    datapoint = {"config": {"model": "m"}, "feedback": feedback, "session_reference_id": "s"}
    first = own.api.log("p", **datapoint)
    own.api.ok("POST", "/logs", [{"project": "p", "parent_id": first["id"], **datapoint}] * 20)

    def export(number: int) -> int:
        with statements(own.database) as sent:
            exported = own.api.export(first["project_id"], f"?size={number}")
        assert len(exported["records"]) == number
        return len(sent)

    assert export(20) == export(2)


def test_exporting_an_unknown_project_is_404(api: Api) -> None:
    assert api.call("POST", "/projects/pr_x/export").status == 404


class TestSessions:
    """Sessions and parents."""

    def test_a_created_session_takes_logs_of_several_projects(self, api: Api, name: str) -> None:
        answer = api.call("POST", "/sessions")
        assert answer.status == 201
        session_id = answer.body["id"]
        assert session_id.startswith("sesh_")
        first = api.log(name, session_id=session_id, inputs={"q": 1}, output="one")
        api.log(f"{name} b", session_id=session_id, inputs={"q": 2}, output="two")
        api.log(f"{name} b", session_id=session_id)
        assert first["session_id"] == session_id
        session = SessionResponse(api.ok("GET", f"/sessions/{session_id}")).to_primitive()
        assert [each["name"] for each in session["projects"]] == [name, f"{name} b"]
        assert session["datapoints_count"] == 3
        assert session["first_inputs"] == {"q": 1}
        assert session["last_output"] == "two"
        assert "reference_id" not in session

    def test_the_first_use_of_a_reference_creates_the_session(self, api: Api, name: str) -> None:
        one = api.log(name, session_reference_id=f"{name} s")
        two = api.log(name, session_reference_id=f"{name} s")
        assert one["session_id"] == two["session_id"]
        session = api.ok("GET", f"/sessions/{one['session_id']}")
        assert session["reference_id"] == f"{name} s"
        assert record(api, one)["session_reference_id"] == f"{name} s"

    def test_a_session_without_logs(self, api: Api) -> None:
        session_id = api.ok("POST", "/sessions")["id"]
        session = api.ok("GET", f"/sessions/{session_id}")
        assert session.keys() == {"id", "projects", "datapoints_count", "created_at"}
        assert session["projects"] == []

    def test_an_unknown_session_is_404(self, api: Api) -> None:
        assert api.call("GET", "/sessions/sesh_x").status == 404

    def test_sessions_of_a_project_are_paged_from_1(self, api: Api, name: str) -> None:
        logged = [api.log(name, session_reference_id=f"{name} {n}") for n in range(11)]
        api.log(f"{name} b", session_reference_id=f"{name} b")
        path = f"/sessions?project_id={logged[0]['project_id']}"
        first, second = api.ok("GET", path), api.ok("GET", f"{path}&page=2")
        assert (first["page"], first["size"], first["total"]) == (1, 10, 11)
        ids = [each["id"] for each in first["records"] + second["records"]]
        assert ids == [each["session_id"] for each in logged][::-1]
        assert api.places("GET", f"{path}&page=0") == [["query", "page"]]

    def test_sessions_need_a_known_project(self, api: Api) -> None:
        assert api.call("GET", "/sessions?project_id=pr_x").status == 404
        assert api.call("GET", "/sessions").status == 422

    def test_a_child_is_in_its_parent_s_session(self, api: Api, name: str) -> None:
        reference = {"reference_id": f"{name} parent"}
        parent = api.log(name, session_reference_id=f"{name} s", **reference)
        child = api.log(name, parent_reference_id=f"{name} parent")
        assert child["session_id"] == parent["session_id"]
        found = record(api, child)
        assert found["parent_id"] == parent["id"]
        assert found["parent_reference_id"] == f"{name} parent"
        assert record(api, api.log(name, parent_id=child["id"]))["parent_id"] == child["id"]

    def test_a_child_in_another_session_is_refused(self, api: Api, name: str) -> None:
        parent = api.log(name, session_reference_id=f"{name} s")
        body = {"project": name, "config": {"model": "m"}, "parent_id": parent["id"]}
        body["session_reference_id"] = f"{name} other"
        assert api.places("POST", "/logs", body) == [["body", "session_reference_id"]]

    def test_a_parent_reference_can_t_name_a_log_of_the_same_request(
        self, api: Api, name: str
    ) -> None:
        item = {"project": name, "config": {"model": "m"}}
        batch = [
            {**item, "reference_id": f"{name} parent"},
            {**item, "parent_reference_id": f"{name} parent"},
        ]
        place = ["body", 1, "parent_reference_id"]
        assert api.places("POST", "/logs", batch) == [place]
        assert count(api, name) == 0


def test_threads_that_log_into_a_new_project_make_one_project(api: Api, name: str) -> None:
    threads_count, logs_count = 8, 5
    barrier = threading.Barrier(threads_count)
    project_ids: list[str] = []

    def run() -> None:
        barrier.wait()
        for number in range(logs_count):
            config = {"model": "m", "temperature": number}
            session = f"{name} {number}"
            logged = api.log(name, config=config, session_reference_id=session)
            project_ids.append(logged["project_id"])

    threads = [threading.Thread(target=run) for _ in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(project_ids) == threads_count * logs_count
    assert len(set(project_ids)) == 1
    assert count(api, name) == threads_count * logs_count
    assert len(api.ok("GET", f"/projects/{project_ids[0]}/configs")) == logs_count
    assert api.ok("GET", f"/sessions?project_id={project_ids[0]}")["total"] == logs_count


def test_readers_see_whole_batches_only(api: Api, name: str) -> None:
    project_id = api.log(name)["project_id"]
    batch = [{"project": name, "config": {"model": "m"}}] * 10
    done = threading.Event()
    totals: list[int] = []

    def read() -> None:
        while not done.is_set():
            totals.append(api.export(project_id, "?size=1")["total"])

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(10):
        api.ok("POST", "/logs", batch)
    done.set()
    reader.join()
    assert totals
    assert all(total % 10 == 1 for total in totals)


class TestLargeArrays:
    """Arrays that are written in slices, between which others have their turn."""

    SIZE = 3 * SLICE + 1

    def array(self, name: str, **keys: Any) -> list[dict[str, Any]]:
        """A large array; values that are functions are called with the index."""
        return [
            {
                "project": name,
                "config": {"model": f"m{index % 2}"},
                **{key: value(index) if callable(value) else value for key, value in keys.items()},
            }
            for index in range(self.SIZE)
        ]

    @pytest.mark.parametrize("keys", ["config", "feedback"])
    def test_what_comes_with_logs_makes_their_array_larger(self, own: Own, keys: str) -> None:
        def log(number: int) -> dict[str, Any]:
            labels = [{"type": "action", "value": f"{number} {index}"} for index in range(10)]
            more = {"config": {"model": f"new {number}"}, "feedback": labels}
            return {"project": "p", "config": {"model": "m"}, keys: more[keys]}

        for size, is_large in ((10, False), (SLICE // 10, True)):
            with transactions(own.database, "commit") as found:
                own.api.ok("POST", "/logs", [log(number) for number in range(size)])
            assert (len(found) > 1) == is_large

    def test_all_of_it_is_there_afterwards(self, api: Api, name: str) -> None:
        parent = api.log(f"{name} parents", reference_id=f"{name} parent")
        body = self.array(
            name,
            output=str,
            reference_id=lambda index: f"{name} {index}",
            session_reference_id=lambda index: f"{name} {index % 3}",
            feedback=lambda index: {"type": "rating", "value": f"label {index % 2}"},
        )
        body.append({**body[0], "reference_id": f"{name} child", "parent_id": parent["id"]})
        answers = api.ok("POST", "/logs", body)
        [project_id] = {each["project_id"] for each in answers}
        records = [
            record
            for page in range(self.SIZE // 100 + 1)
            for record in api.export(project_id, f"?size=100&page={page}")["records"]
        ]
        assert [each["id"] for each in records] == [each["id"] for each in answers][::-1]
        assert records[0]["parent_id"] == parent["id"]
        for record, answer, request in zip(records[1:], answers[-2::-1], body[-2::-1], strict=True):
            assert record["output"] == request["output"]
            assert record["session_id"] == answer["session_id"]
            assert record["feedback"][0]["value"] == request["feedback"]["value"]
        counts = {
            (each["num_datapoints"], each["feedback_stats"][0]["feedback_count"])
            for each in api.ok("GET", f"/projects/{project_id}/configs")
        }
        assert counts == {(self.SIZE // 2 + 2,) * 2, (self.SIZE // 2,) * 2}
        sessions = api.ok("GET", f"/sessions?project_id={project_id}")["records"]
        assert sum(each["datapoints_count"] for each in sessions) == len(body)

    @pytest.mark.parametrize(
        ("keys", "place"),
        [
            ({"output": 1}, "output"),
            ({"parent_id": "data_x"}, "parent_id"),
            ({"session_id": "sesh_x"}, "session_id"),
            ({"trial_id": "trial_x"}, "trial_id"),
            ({"reference_id": "0"}, "reference_id"),
            ({"feedback": {"type": "rating"}}, "feedback"),
            ({"feedback": [{"type": "x", "value": "y"}]}, "feedback"),
        ],
    )
    def test_what_is_refused_at_the_end_has_left_nothing(
        self, api: Api, name: str, keys: dict[str, Any], place: str
    ) -> None:
        body = self.array(name, reference_id=lambda index: f"{name} {index}")
        last = {**body[-1], **keys}
        if place == "reference_id":
            last["reference_id"] = f"{name} 0"
        assert api.places("POST", "/logs", [*body[:-1], last])[0][:3] == [
            "body",
            len(body) - 1,
            place,
        ]
        assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 0
        assert len(api.ok("POST", "/logs", body)) == len(body)

    def test_one_that_meets_another_half_way_is_taken_back(self, own: Own) -> None:
        name, api = "p", own.api
        body = self.array(name, reference_id=str, feedback={"type": "rating", "value": "good"})
        answers: list[int] = []

        def write(first: int) -> None:
            part = [*body[first:], *body[:first]]
            answers.append(Api(own.server.url).call("POST", "/logs", part).status)

        threads = [threading.Thread(target=write, args=(first,)) for first in (0, SLICE, 2 * SLICE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) in ([200, 422, 422], [422, 422, 422])
        if 200 not in answers:
            assert len(api.ok("POST", "/logs", body)) == len(body)
        assert count(api, name) == len(body)

    def test_one_that_is_repeated_too_soon_has_to_wait(self, own: Own, database_url: str) -> None:
        log = {"project": "p", "config": {"model": "m"}, "reference_id": "r"}
        first = own.api.ok("POST", "/logs", log)

        def repeat() -> Any:
            data, headers = json.dumps(log).encode(), {"x_retry_count": "1"}
            return own.api.send("POST", "/logs", data, content_type="application/json", **headers)

        moment = "2026-01-01 00:00:00"
        query(
            database_url, f"INSERT INTO batches SELECT id, 'batch_x', '{moment}' FROM organizations"
        )
        query(database_url, "UPDATE logs SET batch_id = 'batch_x'")
        assert repeat().status == 503
        query(database_url, "DELETE FROM batches")
        assert repeat().body == first

    def test_failures_of_others_at_the_same_time_change_nothing(self, api: Api, name: str) -> None:
        body = self.array(
            name,
            reference_id=lambda index: f"{name} {index}",
            session_reference_id=f"{name} s",
            feedback={"type": "action", "value": name},
        )
        done = threading.Event()

        def fail() -> None:
            other = Api(api.url)
            while not done.is_set():
                log = {"project": f"{name} other", "config": {"model": name}}
                assert other.places("POST", "/logs", {**log, "session_id": "sesh_x"})

        threads = [threading.Thread(target=fail) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            answers = api.ok("POST", "/logs", body)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        path = f"/projects/{answers[0]['project_id']}"
        listed = api.ok("GET", f"{path}/configs")
        assert sum(each["num_datapoints"] for each in listed) == len(body)
        assert sum(each["feedback_stats"][0]["feedback_count"] for each in listed) == len(body)
        assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 1
        session = api.ok("GET", f"/sessions/{answers[0]['session_id']}")
        assert session["datapoints_count"] == len(body)

    def test_readers_see_all_or_nothing_and_others_get_in_between(
        self, api: Api, name: str
    ) -> None:
        project_id = api.log(name)["project_id"]
        body = self.array(name, session_reference_id=f"{name} s")
        done = threading.Event()
        thread = threading.Thread(target=lambda: (api.ok("POST", "/logs", body), done.set()))
        thread.start()
        logged, in_between = 1, 0
        seen: set[int] = set()
        while not done.is_set():
            logged += 1
            other = Api(api.url).log(name)
            page = api.export(project_id, "?size=1")
            if not done.is_set():
                in_between += 1
                assert page["records"][0]["id"] == other["id"]
            seen.add(page["total"] - logged)
        thread.join()
        assert seen <= {0, self.SIZE}
        assert in_between
        assert api.export(project_id)["total"] == logged + self.SIZE


def test_logs_of_the_same_time_are_in_the_order_of_arrival(own: Own) -> None:
    body = {"project": "p", "config": {"model": "m"}, "created_at": "2026-01-01T00:00:00Z"}
    ids = [own.api.ok("POST", "/logs", body)["id"] for _ in range(3)]
    ids += [each["id"] for each in own.api.ok("POST", "/logs", [body] * 300)]
    ids += [own.api.ok("POST", "/logs", body)["id"] for _ in range(3)]
    project_id = own.api.ok("GET", "/projects")["records"][0]["id"]
    pages = [own.api.export(project_id, f"?size=100&page={page}") for page in range(4)]
    assert [each["id"] for page in pages for each in page["records"]] == ids[::-1]


def test_a_body_may_be_utf_8_throughout(api: Api, name: str) -> None:
    body = {"project": f"{name} \u65e5\u672c", "config": {"model": "m"}, "output": "\u0001\u2028"}
    data = json.dumps(body, ensure_ascii=False).encode()
    logged = api.send("POST", "/logs", data, content_type="application/json").body
    found = record(api, logged)
    assert (found["project"], found["output"]) == (body["project"], body["output"])
