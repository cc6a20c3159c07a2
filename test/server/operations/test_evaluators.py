"""Evaluators: created, checked, changed and deleted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from humanloop.model import EvaluatorResponse
from humanloop.server import EmbeddedServer
from humanloop.server.evaluation import engines
from humanloop.server.http import app

from ..api import API_KEY, Api

pytest.importorskip("pydantic_monty", reason="the extra `evaluators` is not installed here")

FREE = "def evaluate(log):\n    return len(log['output']) > 1\n"
WITH_TARGET = "def evaluate(log, testcase):\n    return log['output'] == testcase['target']\n"


def body(name: str, **keys: Any) -> dict[str, Any]:
    """What creates an evaluator."""
    return {
        "name": name,
        "description": "d",
        "code": FREE,
        "arguments_type": "target_free",
        "return_type": "boolean",
        **keys,
    }


@pytest.fixture
def evaluator(api: Api, name: str) -> Any:
    """An evaluator of the test's own."""
    return api.ok("POST", "/evaluators", body(name))


def refused(api: Api, method: str, path: str, **keys: Any) -> str:
    """The message of what is refused for its code."""
    answer = api.call(method, path, keys)
    assert answer.places == [["body", "code"]]
    return str(answer.body["detail"][0]["msg"])


def test_an_evaluator_is_kept_as_it_came(api: Api, name: str) -> None:
    code = WITH_TARGET + "\n# é ☃\n"
    made = api.ok("POST", "/evaluators", body(name, code=code, arguments_type="target_required"))
    assert EvaluatorResponse(made)["id"].startswith("evfn_")
    assert made["code"] == code
    assert made in api.ok("GET", "/evaluators")


def test_evaluators_are_listed_newest_first(api: Api, name: str) -> None:
    made = [api.ok("POST", "/evaluators", body(f"{name} {n}"))["id"] for n in range(3)]
    assert [each["id"] for each in api.ok("GET", "/evaluators")][:3] == made[::-1]


def test_bad_source_is_refused_with_its_place(api: Api, name: str) -> None:
    code = "import re\ndef f(log):\n    return log['a'] +\n"
    message = refused(api, "POST", "/evaluators", **body(name, code=code))
    assert message.startswith("line 3, column ")
    assert "    return log['a'] +\n" in message
    assert message.endswith("^")
    assert name not in [each["name"] for each in api.ok("GET", "/evaluators")]


def test_types_are_checked(api: Api, name: str) -> None:
    code = "def f(log):\n    x: int = 'a'\n    return x > 1\n"
    message = refused(api, "POST", "/evaluators", **body(name, code=code))
    assert message.startswith("line 2, column ")


@pytest.mark.parametrize(
    ("code", "arguments_type"), [(FREE, "target_required"), (WITH_TARGET, "target_free")]
)
def test_the_arguments_must_fit(api: Api, name: str, code: str, arguments_type: str) -> None:
    keys = body(name, code=code, arguments_type=arguments_type)
    assert "evaluate() is called with" in refused(api, "POST", "/evaluators", **keys)


def test_the_annotation_must_fit_the_return_type(api: Api, name: str) -> None:
    code = "def f(log) -> float:\n    return 0.5\n"
    message = refused(api, "POST", "/evaluators", **body(name, code=code))
    assert "f() must return a boolean, but is annotated with `float`" in message
    made = api.ok("POST", "/evaluators", body(name, code=code, return_type="number"))
    assert refused(api, "PATCH", f"/evaluators/{made['id']}", return_type="boolean")


@pytest.mark.parametrize("code", ["", "x = 1", "def f(log): return 1\n" * 10_000])
def test_what_is_no_evaluator_is_refused(api: Api, name: str, code: str) -> None:
    assert refused(api, "POST", "/evaluators", **body(name, code=code))


class TestNames:
    """A name is taken once, and is 1 to 255 characters long."""

    def test_in_a_new_one(self, api: Api, name: str, evaluator: Any) -> None:
        for bad in (name, " ", "x" * 256):
            assert api.places("POST", "/evaluators", body(bad)) == [["body", "name"]]

    def test_in_a_change(self, api: Api, name: str, evaluator: Any) -> None:
        path = f"/evaluators/{api.ok('POST', '/evaluators', body(f'{name} b'))['id']}"
        for bad in (name, "", "x" * 256):
            assert api.places("PATCH", path, {"name": bad}) == [["body", "name"]]
        assert api.ok("PATCH", path, {"name": f"{name} b"})["name"] == f"{name} b"


class TestUpdate:
    """PATCH /evaluators/{id}."""

    def test_what_is_not_given_stays(self, api: Api, evaluator: Any) -> None:
        path = f"/evaluators/{evaluator['id']}"
        updated = api.ok("PATCH", path, {"description": "e", "return_type": "number"})
        assert updated["updated_at"] > evaluator["updated_at"]
        others = {"description": "e", "return_type": "number", "updated_at": updated["updated_at"]}
        assert updated == {**evaluator, **others}
        assert updated in api.ok("GET", "/evaluators")

    def test_what_is_new_is_checked_with_what_stays(self, api: Api, evaluator: Any) -> None:
        path = f"/evaluators/{evaluator['id']}"
        assert refused(api, "PATCH", path, code="def f(log) return 1")
        assert refused(api, "PATCH", path, code=WITH_TARGET)
        assert refused(api, "PATCH", path, arguments_type="target_required")
        keys = {"code": WITH_TARGET, "arguments_type": "target_required"}
        assert api.ok("PATCH", path, keys)["code"] == WITH_TARGET

    def test_an_unknown_one_is_404(self, api: Api) -> None:
        assert api.call("PATCH", "/evaluators/evfn_x", {"name": "n"}).status == 404


def test_a_deleted_one_is_gone(api: Api, name: str, evaluator: Any) -> None:
    path = f"/evaluators/{evaluator['id']}"
    answer = api.call("DELETE", path)
    assert (answer.status, answer.text) == (204, "")
    assert evaluator not in api.ok("GET", "/evaluators")
    assert api.call("DELETE", path).status == 404
    assert api.ok("POST", "/evaluators", body(name))["id"] != evaluator["id"]


def test_endless_sources_hold_nobody_up(api: Api, name: str) -> None:
    codes = ["while True:\n    pass\ndef f(log):\n    return 1\n"] * 3
    answers: list[int] = []

    def create(number: int) -> None:
        keys = body(f"{name} {number}", code=codes[number])
        answers.append(Api(api.url).call("POST", "/evaluators", keys).status)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(len(codes))]
    for thread in threads:
        thread.start()
    logged = 0
    while any(thread.is_alive() for thread in threads):
        api.log(name)
        logged += 1
    assert answers == [422] * len(codes)
    assert logged > len(codes)  # so none waited for a source


@pytest.fixture
def without_engine(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Api]:
    """A server whose Python lacks the extra."""

    def no_engine(*_: object) -> engines.NoEngine:
        return engines.NoEngine()

    monkeypatch.setattr(app, "open_engine", no_engine)
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        yield Api(server.url)


def test_without_the_extra_it_says_how_to_install_it(without_engine: Api) -> None:
    message = refused(without_engine, "POST", "/evaluators", **body("e"))
    assert "pydantic-monty" in message
    assert "pip install" in message
    assert without_engine.ok("GET", "/evaluators") == []
