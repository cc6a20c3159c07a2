"""The checks of every request: Host, Origin, key, path, method, size, media type, JSON, schema."""

from __future__ import annotations

import http.client
import json
import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from humanloop.apis.operations import OPERATIONS
from humanloop.server import EmbeddedServer
from humanloop.server.operations.handlers import HANDLERS
from humanloop.server.store.json_text import MAX_DEPTH

from ..api import API_KEY, Api
from ..databases import query

JSON = "application/json"


def test_a_missing_key_is_401(server: EmbeddedServer) -> None:
    answer = Api(server.url, key=None).call("GET", "/projects")
    assert answer.status == 401
    assert answer.body == {"detail": "The header X-API-KEY is missing."}


@pytest.mark.parametrize("key", ["", "wrong", API_KEY + "x", API_KEY[:-1], "schl\u00fcssel"])
def test_a_wrong_key_is_401_and_not_repeated(server: EmbeddedServer, key: str) -> None:
    answer = Api(server.url, key=key).call("GET", "/projects")
    assert answer.status == 401
    assert not key or key not in answer.text


def test_without_a_key_nothing_is_told_about_paths(server: EmbeddedServer) -> None:
    assert Api(server.url, key=None).call("PUT", "/nowhere").status == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example"])
def test_a_foreign_host_header_is_refused(api: Api, host: str) -> None:
    assert api.send("GET", "/projects", host=host).status == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:9"])
def test_a_loopback_host_header_is_accepted(api: Api, host: str) -> None:
    assert api.send("GET", "/projects", host=host).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "evil.example"])
def test_a_foreign_origin_is_refused(api: Api, origin: str) -> None:
    assert api.send("GET", "/projects", origin=origin).status == 403


def test_a_loopback_origin_is_accepted(api: Api) -> None:
    assert api.send("GET", "/projects", origin="http://localhost:3000").status == 200


@pytest.mark.parametrize("path", ["/nowhere", "/projects/", "/projects/a/b/c/d", "//projects", ""])
def test_an_unknown_path_is_404(api: Api, path: str) -> None:
    answer = api.call("GET", path)
    assert answer.status == 404
    assert isinstance(answer.body["detail"], str)


def test_paths_outside_the_prefix_are_404(server: EmbeddedServer) -> None:
    assert Api(server.url.removesuffix("/v4")).call("GET", "/projects").status == 404


@pytest.mark.parametrize("target", ["*", "http://localhost/v4/projects"])
def test_a_target_that_is_no_path_is_404(server: EmbeddedServer, target: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request("OPTIONS", target, headers={"X-API-KEY": API_KEY})
    answer = connection.getresponse()
    assert answer.status == 404
    assert "There is no operation at this path" in json.load(answer)["detail"]
    connection.close()


def test_an_encoded_slash_is_part_of_an_id(api: Api) -> None:
    answer = api.call("GET", "/projects/a%2Fexport")
    assert answer.status == 404
    assert answer.body == {"detail": "There is no project 'a/export'."}


def test_another_method_is_405_with_all_that_are_allowed(api: Api) -> None:
    answer = api.call("PUT", "/projects/pr_x/active-config")
    assert answer.status == 405
    assert answer.headers["Allow"] == "DELETE, GET"


def test_every_operation_has_a_handler() -> None:
    assert HANDLERS.keys() == {operation.name for operation in OPERATIONS}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_taken(api: Api, content_type: str) -> None:
    answer = api.send("POST", "/projects", b'{"name": "x"}', content_type=content_type)
    assert answer.status == 415


def test_json_with_a_charset_is_taken(api: Api, name: str) -> None:
    body = json.dumps({"name": name}).encode()
    assert api.send("POST", "/projects", body, content_type=f"{JSON}; charset=utf-8").status == 201


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"name": NaN}',
        b'{"name": "x"} x',
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": "\\uDFFF"}',
        b'{"\\ude00\\ud83d": 1, "name": "x"}',
        b'{"name": "\\ud83d\\ud83d\\ude00\\ude00"}',
        b'{"name": "\\\\ud83d\\ude00"}',
        '{"name": "\\ud800"}'.encode("utf-16"),
        '{"name": "x"}'.encode("utf-32-le"),
        b'{"name": "x", "more": %s}' % (b"9" * 4301),
        b"[" * 100_000,
        b"null",
        b"7",
        b'"x"',
    ],
    ids=lambda data: repr(data[:16]),
)
def test_what_is_not_a_json_object_is_422_on_the_body(api: Api, data: bytes) -> None:
    assert api.send("POST", "/projects", data, content_type=JSON).places == [["body"]]


@pytest.mark.parametrize(
    ("depth", "status"), [(MAX_DEPTH - 2, 200), (MAX_DEPTH - 1, 422), (400, 422), (100_000, 422)]
)
def test_what_is_kept_is_not_too_deep_to_be_read(
    api: Api, name: str, depth: int, status: int
) -> None:
    nested = f'{{"x": {"[" * depth}1{"]" * depth}}}'
    config = f'{{"model": "m", "other": {nested}}}'
    data = f'{{"project": "{name}", "config": {config}, "inputs": {nested}}}'.encode()
    answer = api.send("POST", "/logs", data, content_type=JSON)
    assert answer.status == status
    if status == 200:
        path = f"/projects/{answer.body['project_id']}"
        assert api.export(answer.body["project_id"])["total"] == 1
        [config_id] = [each["config"]["id"] for each in api.ok("GET", f"{path}/configs")]
        labels = [{"type": "rating", "value": "good"}]
        experiment = {"name": "e", "positive_labels": labels, "config_ids": [config_id]}
        api.ok("POST", f"{path}/experiments", {**experiment, "set_active": True})
        assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 1
    else:
        assert answer.places == [["body"]]


@pytest.mark.parametrize("before", [0, 1, 4299, 4300, 4301])
def test_integers_have_up_to_4300_digits_wherever_they_stand(
    api: Api, name: str, before: int
) -> None:
    for digits, status in ((4300, 201), (4301, 422)):
        body = f'{{{" " * before}"name": "{name} {digits}", "more": {"9" * digits}}}'
        answer = api.send("POST", "/projects", body.encode(), content_type=JSON)
        assert answer.status == status


@pytest.mark.parametrize(
    "text", [r"\ud83d\ude00", r"\uD83D\uDE00\ud83d\ude00", r"\\ud800", r"\u0064"]
)
def test_escapes_of_whole_characters_are_taken(api: Api, name: str, text: str) -> None:
    body = f'{{"name": "{name} {text}"}}'
    answer = api.send("POST", "/projects", body.encode(), content_type=JSON)
    assert answer.status == 201
    assert answer.body["name"] == json.loads(body)["name"]


def test_a_body_over_the_limit_is_413(api: Api) -> None:
    body = json.dumps({"name": "x" * 1_000_001}).encode()
    answer = api.send("POST", "/projects", body, content_type=JSON)
    assert answer.status == 413
    assert answer.body == {"detail": "The body is over 1,000,000 bytes."}


def test_a_chunked_body_over_the_limit_is_413(api: Api) -> None:
    answer = api.pool.request(
        "POST",
        f"{api.url}/projects",
        body=(b"x" * 100_000 for _ in range(11)),
        headers={"X-API-KEY": API_KEY, "Content-Type": JSON},
        chunked=True,
    )
    assert answer.status == 413


def test_all_errors_of_a_body_come_at_once_with_their_places(api: Api) -> None:
    body = {"project": "x", "config": {"model": 5}, "output": 1, "messages": [{}, {"role": "x"}]}
    answer = api.call("POST", "/logs", body)
    assert answer.status == 422
    assert {tuple(problem["loc"]) for problem in answer.body["detail"]} == {
        ("body", "config", "model"),
        ("body", "messages", 0, "role"),
        ("body", "messages", 1, "role"),
        ("body", "output"),
    }
    assert all(problem.keys() == {"loc", "msg", "type"} for problem in answer.body["detail"])


def test_places_in_an_array_have_its_index(api: Api, name: str) -> None:
    good = {"project": name, "config": {"model": "m"}}
    assert api.places("POST", "/logs", [good, {**good, "output": 1}]) == [["body", 1, "output"]]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("size=ten", "size"),
        ("size=1.0", "size"),
        ("size=", "size"),
        ("size=0", "size"),
        ("page=-1", "page"),
        ("page=99999999999999999999", "page"),
        ("order=up", "order"),
        ("sort_by=size", "sort_by"),
        (f"filter={'x' * 50_000}", "filter"),
        (f"user_filter={'%25' * 1001}", "user_filter"),
    ],
)
def test_a_bad_query_parameter_is_422_at_its_name(api: Api, query: str, place: str) -> None:
    assert api.places("GET", f"/projects?{query}") == [["query", place]]


def test_a_missing_query_parameter_is_422(api: Api) -> None:
    answer = api.call("PATCH", "/logs", {"output": "x"})
    assert answer.status == 422
    assert answer.body["detail"][0]["type"] == "required"
    assert answer.body["detail"][0]["loc"][0] == "query"


def test_a_boolean_query_parameter_is_true_or_false(api: Api, project: Any) -> None:
    path = f"/projects/{project['id']}/configs?evaluation_aggregates="
    assert api.call("GET", path + "true").status == 200
    assert api.call("GET", path + "false").status == 200
    assert api.places("GET", path + "yes") == [["query", "evaluation_aggregates"]]


def test_unknown_query_parameters_are_ignored(api: Api) -> None:
    assert api.call("GET", "/projects?colour=red").status == 200


@pytest.mark.sqlite
def test_provider_keys_are_taken_in_any_object_and_kept_nowhere(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret, key = "sk-provider-secret", "hl_very-secret-key"
    keys = {"provider_api_keys": {"openai": secret}}
    caplog.set_level(logging.DEBUG)
    with EmbeddedServer(database_url, api_key=key) as server:
        api = Api(server.url, key)
        project = api.ok("POST", "/projects", {"name": "p", **keys})
        logged = api.log("p", **keys)
        api.ok("POST", "/model-configs", {"project": "p", "model": "m", **keys})
        feedback = {"data_id": logged["id"], "type": "rating", "value": "good", **keys}
        api.ok("POST", "/feedback", feedback)
        api.ok("PATCH", f"/logs/{logged['id']}", {"output": "x", **keys})
        api.ok("PATCH", f"/projects/{project['id']}", {"name": "q", **keys})
        assert api.call("POST", "/logs", {"project": "p", "output": 1, **keys}).status == 422
        nested = {"a": [{"b": {"c": 1, **keys}}], **keys}
        config = {"provider": "mock", "model": "m", "endpoint": "chat", "other": nested, **keys}
        api.ok("POST", "/model-configs", {"project": "p", **config})
        tools = [{"name": "t", "parameters": nested, **keys}]
        everywhere = {"inputs": nested, "metadata": nested, "messages": [{"role": "user", **keys}]}
        logged = api.log("p", config={**config, "tools": tools}, **everywhere, **keys)
        assert api.ok("POST", "/logs", [{**everywhere, "project": "p", "config": config}])
        [record] = api.export(logged["project_id"], "?size=1&page=1")["records"]
        assert record["inputs"] == {"a": [{"b": {"c": 1}}]}
        chat = {"project": "p", "model_config": config, "inputs": nested, "metadata": nested}
        api.ok("POST", "/chat", {**chat, "messages": [{"role": "user", "content": "x"}], **keys})
        escaped = json.dumps({"project": "p", "config": config}).replace("_api_", "\\u005fapi_")
        assert api.send("POST", "/logs", escaped.encode(), content_type=JSON).status == 200
        assert api.call("POST", "/evaluators", {"name": "e", **keys}).status == 422
        testset = {"name": "t", "description": "", **keys}
        path = f"/projects/{logged['project_id']}"
        testset_id = api.ok("POST", f"{path}/testsets", testset)["id"]
        testcase = {"inputs": {"a": "b"}, "target": nested, **keys}
        api.ok("POST", f"/testsets/{testset_id}/testcases", [testcase])
        evaluation = {"testset_id": testset_id, "config_id": "x", "evaluator_ids": [], **keys}
        assert api.call("POST", f"{path}/evaluations", evaluation).status == 422
        files = [path.read_bytes() for path in tmp_path.iterdir()]
    files += [path.read_bytes() for path in tmp_path.iterdir()]
    assert len(files) >= 2
    for text in (secret, key):
        assert all(text.encode() not in data for data in files)
        assert text not in caplog.text
    assert "POST logs.log: 200" in caplog.text


def test_a_response_that_does_not_fit_is_500_and_leaves_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        api = Api(server.url)
        project_id = api.log("p")["project_id"]
        [config] = api.ok("GET", f"/projects/{project_id}/configs")
        experiment = {
            "name": "e",
            "positive_labels": [{"type": "rating", "value": "good"}],
            "config_ids": [config["config"]["id"]],
        }
        created = api.ok("POST", f"/projects/{project_id}/experiments", experiment)
        query(database_url, """UPDATE configs SET parameters = '{"model": 5}'""")
        answer = api.call("GET", f"/experiments/{created['id']}/model-config")
        [(trials,)] = query(database_url, "SELECT count(*) FROM trials")
    assert answer.status == 500
    assert answer.body == {"detail": "internal error: see the server's log"}
    assert trials == 0
    assert "experiments.sample: internal error" in caplog.text


@pytest.mark.sqlite
def test_a_locked_database_is_503(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    with EmbeddedServer(f"sqlite:///{path}?timeout=0.05", api_key=API_KEY) as server:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        answer = Api(server.url).call("POST", "/sessions")
        blocker.close()
        assert Api(server.url).call("POST", "/sessions").status == 201
    assert answer.status == 503
    assert answer.body == {"detail": "The database can't be used right now."}


@pytest.mark.sqlite
def test_readers_wait_for_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    with EmbeddedServer(f"sqlite:///{path}?timeout=60", api_key=API_KEY) as server:
        api = Api(server.url)
        project_id = api.log("p")["project_id"]
        statuses: list[int] = []

        def write() -> None:
            statuses.append(Api(server.url).call("POST", "/sessions").status)

        with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            writers = [threading.Thread(target=write) for _ in range(60)]
            for writer in writers:
                writer.start()
            for _ in range(20):
                assert api.ok("GET", f"/projects/{project_id}/active-config")["config"]
                assert api.export(project_id)["total"] == 1
            assert statuses == []
            blocker.execute("ROLLBACK")
            for writer in writers:
                writer.join()
    assert statuses == [201] * 60
