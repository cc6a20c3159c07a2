"""What the result of a call looks like, and what it says to those who take it for its body."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from humanloop import ApiResponse
from humanloop.http import Headers, RawResponse
from humanloop.model import LogResponse, PaginatedDataLogResponse
from humanloop.schemas import unset

LOG = {"id": "data_1", "config": {"id": "c", "type": "model", "model": "m"}, "output": "Hi."}
SECRET = "sk-abcdefghijklmnop"


def response(body: Any) -> Any:
    headers = Headers({"Content-Type": "application/json", "Set-Cookie": SECRET})
    return ApiResponse(headers, 200, RawResponse(200, "OK", headers, b"{}"), 0.0123456, body)


LOGGED = response(LogResponse(LOG))
PAGE = response(PaginatedDataLogResponse(records=[LOG] * 100, page=0, size=100, total=250))


# -- shown ----------------------------------------------------------------------------------------


def test_repr() -> None:
    assert (
        repr(LOGGED)
        == str(LOGGED)
        == (
            "ApiResponse(status=200, body=LogResponse({'id': 'data_1', 'config': "
            "ModelConfigResponse({'id': 'c', 'type': 'model', 'model': 'm'}), 'output': 'Hi.'}), "
            "headers=<2 headers>, round_trip_time=0.01235)"
        )
    )
    assert "body=unset," in repr(response(unset))
    assert "body={'a': [1, None]}," in repr(response({"a": [1, None]}))


@pytest.mark.parametrize("body", [PAGE.body, PAGE.body.to_primitive(), "long " * 5000])
def test_the_repr_is_short_whatever_the_body(body: Any) -> None:
    assert len(repr(response(body))) < 1100
    assert repr(response(body)).endswith("headers=<2 headers>, round_trip_time=0.01235)")


@pytest.mark.parametrize(
    "body", [LogResponse({**LOG, "inputs": {"token": SECRET}}), {"token": SECRET}]
)
def test_no_secret_is_shown(body: Any) -> None:
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    made = response(body)
    for text in (repr(made), pretty(made), made._repr_html_()):
        assert "***" in text
        assert SECRET not in text


def test_ipython_lays_it_out() -> None:
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    assert pretty(LOGGED, max_width=90).splitlines() == [
        "ApiResponse(",
        "    status=200,",
        "    body=LogResponse({",
        "        'id': 'data_1',",
        "        'config': ModelConfigResponse({'id': 'c', 'type': 'model', 'model': 'm'}),",
        "        'output': 'Hi.'",
        "    }),",
        "    headers=<2 headers>,",
        "    round_trip_time=0.01235",
        ")",
    ]
    assert len(pretty(PAGE)) < 10_000


def test_notebooks_get_the_table_of_the_body() -> None:
    html = PAGE._repr_html_()
    assert html.startswith("<div><p>ApiResponse, status 200, PaginatedDataLogResponse, page 0")
    assert html.count("<tr>") == 21
    assert "<pre>&lt;b&gt;</pre>" in response("<b>")._repr_html_()


def test_rich() -> None:
    console = pytest.importorskip("rich.console").Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(LOGGED)
    assert "'output': 'Hi.'" in captured.get()


# -- taken for its body ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda r: r["records"], "`response.body['records']`"),
        (lambda r: r[0], "`response.body[0]`"),
        (lambda r: list(r), "`for item in response.body`"),
        (lambda r: dict(r), "response.body"),
        (lambda r: "records" in r, "response.body"),
        (lambda r: len(r), "`len(response.body)`"),
        (lambda r: {**r}, ""),
    ],
)
def test_items_are_those_of_the_body(use: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        use(PAGE)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("made", "name", "message"),
    [
        (LOGGED, "id", "an ApiResponse has no 'id': use `response.body.id`"),
        (LOGGED, "get", "an ApiResponse has no 'get': use `response.body.get`"),
        (PAGE, "records", "an ApiResponse has no 'records': use `response.body.records`"),
        (
            PAGE,
            "to_primitive",
            "an ApiResponse has no 'to_primitive': use `response.body.to_primitive`",
        ),
        (response({"id": 1}), "id", "an ApiResponse has no 'id': use `response.body['id']`"),
        (response([]), "append", "an ApiResponse has no 'append': use `response.body.append`"),
        (LOGGED, "json", "an ApiResponse has no 'json': use `response.body`"),
        (LOGGED, "status_code", "an ApiResponse has no 'status_code': use `response.status`"),
        (LOGGED, "text", "an ApiResponse has no 'text': use `response.response.text`"),
        (LOGGED, "header", "an ApiResponse has no 'header'; did you mean 'headers'?"),
        (LOGGED, "zzz", "an ApiResponse has no 'zzz'"),
    ],
)
def test_attributes_are_those_of_the_body(made: Any, name: str, message: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(made, name)
    assert str(caught.value) == message
    assert caught.value.name == name


def test_it_is_still_a_plain_object() -> None:
    assert bool(LOGGED)
    assert not hasattr(LOGGED, "__deepcopy__")
    assert (
        copy.copy(LOGGED) == copy.deepcopy(LOGGED) == pickle.loads(pickle.dumps(LOGGED)) == LOGGED
    )
    assert dataclasses.replace(LOGGED, status=201).status == 201
