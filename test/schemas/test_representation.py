"""Representations of an instance: repr, pprint, rich, IPython, logging; at any depth, no secret."""

from __future__ import annotations

import io
import logging
import pprint
import reprlib
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from humanloop.display import short_text
from humanloop.model import (
    ExperimentResponse,
    LogResponse,
    PaginatedDataLogResponse,
    ProviderApiKeys,
)
from humanloop.schemas import DictSchema, ListSchema

from .support import deadline, make, nested

DEPTH = 150

LOG: Any = LogResponse(
    id="data_1",
    config={"id": "config_1", "type": "model", "model": "gpt-4", "temperature": 0.5},
    inputs={"question": "When, and who brings it?", "tries": [1, {}]},
    messages=[{"role": "user", "content": "hi"}],
    output="On Friday, about noon, it is Sam.",
)

SHORT = (
    "LogResponse({'id': 'x', 'config': ModelConfigResponse({'id': 'c', 'type': 'model', "
    "'model': 'm'}), 'messages': (ChatMessage({'role': 'user', 'name': None}),), "
    "'inputs': {'a': (1, (), {}), 'b': True}})"
)


def test_repr() -> None:
    made = LogResponse(
        id="x",
        config={"id": "c", "type": "model", "model": "m"},
        messages=[{"role": "user", "name": None}],
        inputs={"a": [1, [], {}], "b": True},
    )
    assert repr(made) == str(made) == f"{made}" == SHORT
    assert repr(ListSchema([0.2, "a", None])) == "(0.2, 'a', None)"
    assert repr(ListSchema([1])) == "(1,)"
    assert repr(ListSchema([])) == "()"
    assert repr(DictSchema()) == "{}"


def rich_text(value: Any) -> str:
    rich = pytest.importorskip("rich.console")
    file = io.StringIO()
    rich.Console(file=file, width=80, color_system=None).print(value)
    return file.getvalue()


def ipython_text(value: Any) -> str:
    return str(pytest.importorskip("IPython.lib.pretty").pretty(value, max_width=80))


def html_text(value: Any) -> str:
    return str(value._repr_html_())


PRINTERS: list[Callable[[Any], str]] = [repr, pprint.pformat, rich_text, ipython_text]


@pytest.mark.parametrize("printed", PRINTERS)
def test_a_representation_is_python(printed: Callable[[Any], str]) -> None:
    """Read again as Python, it is the value."""
    names: dict[str, Any] = dict.fromkeys(
        ("LogResponse", "ModelConfigResponse", "ChatMessage"), dict
    )
    assert eval(printed(LOG), names) == LOG.to_primitive() | {
        "messages": ({"role": "user", "content": "hi"},),
        "inputs": {"question": "When, and who brings it?", "tries": (1, {})},
    }


@pytest.mark.parametrize("printed", PRINTERS[1:])
def test_pretty_printers_keep_to_the_width(printed: Callable[[Any], str]) -> None:
    lines = printed(LOG).splitlines()
    assert len(lines) > 8
    assert max(map(len, lines)) <= 80
    assert "'role': 'user'" in printed(LOG)
    assert len(printed(LOG.messages[0]).splitlines()) == 1


def test_pprint() -> None:
    made = LogResponse(
        id="x", config={"id": "c", "type": "model", "model": "m"}, inputs={"a": ["text"] * 3}
    )
    assert pprint.pformat(made, width=60, sort_dicts=False).splitlines() == [
        "LogResponse({'id': 'x',",
        "             'config': ModelConfigResponse({'id': 'c',",
        "                                            'type': 'model',",
        "                                            'model': 'm'}),",
        "             'inputs': {'a': ('text', 'text', 'text')}})",
    ]


PPRINT = """
from humanloop.model import ChatMessage
message = ChatMessage(role="user", content="word " * 20)
repr(message)
import pprint
pprint.pprint(message)
"""


def test_pprint_may_be_imported_later() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PPRINT], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) > 1


# -- short ----------------------------------------------------------------------------------------

LONG: Any = {
    "id": "data_1",
    "config": {
        "id": "config_1",
        "type": "model",
        "model": "gpt-4",
        "temperature": 0.2,
        "prompt_template": "You are helpful. " * 100,
    },
    "inputs": {f"input {n}": "text " * n for n in range(50)},
    "messages": [{"role": "user", "content": "hi " * n} for n in range(30)],
    "output": "On Friday. " * 200,
    "feedback": [{"type": "rating", "value": "good"}] * 20,
}
PAGE: Any = PaginatedDataLogResponse(records=[LONG] * 100, page=0, size=100, total=250)
EXPERIMENT: Any = ExperimentResponse(
    id="exp_1",
    project_id="pr_1",
    name="friday",
    status="In progress",
    metric={
        "id": "metric_1",
        "name": "positive_feedback_rate",
        "description": "The share of datapoints with positive feedback.",
        "code": "def metric(log):\n    ..." * 50,
        "default": True,
        "active": True,
        "created_at": "2024-07-01T09:30:00Z",
        "updated_at": "2024-07-01T09:30:00Z",
    },
    positive_labels=[{"type": "rating", "value": f"label {n}"} for n in range(200)],
    created_at="2024-07-01T09:30:00Z",
    updated_at="2024-07-01T09:30:00Z",
    configs=[],
)


@pytest.mark.parametrize("value", [LogResponse(LONG), PAGE, EXPERIMENT])
def test_a_long_value_has_a_short_repr_that_tells_what_it_leaves_out(value: Any) -> None:
    for text, limit in ((repr(value), 1000), (f"{value}", 1000), (ipython_text(value), 10_000)):
        assert 300 < len(text) <= limit
        assert text.startswith(f"{type(value).__name__}({{")
        assert "Decimal" not in text
        assert " more" in text


def test_what_is_cut() -> None:
    assert "... 98 more ), 'page': 0, 'size': 100, 'total': 250 })" in ipython_one_line(PAGE)
    assert "), ... 99 more), 'page': 0, 'size': 100, 'total': 250})" in repr(PAGE)
    assert repr(DictSchema(text="x" * 2000)) == f"{{'text': '{'x' * 600}'... 1,400 more}}"
    assert repr(ListSchema([*range(1000)])).endswith("98, 99, ... 900 more)")
    assert repr(DictSchema({f"k{n}": n for n in range(1000)})).endswith(", ... 940 more}")
    deep = repr(DictSchema(a=nested(DEPTH, objects=True)))
    assert deep.count("{") == deep.count("}") < DEPTH
    assert "{... 1 key}" in deep


def ipython_one_line(value: Any) -> str:
    return " ".join(ipython_text(value).split())


@pytest.mark.parametrize(
    "value",
    [
        DictSchema({"k" * 5000: "x"}),
        DictSchema({f"{n}" * 50: {"a": "y" * 100} for n in range(500)}),
        ListSchema([10**900, 10**900]),
        ListSchema([[[["x" * 100] * 50] * 50] * 50] * 3),
        [LONG] * 100,
        {"records": [LONG], "data": b"x" * 10_000},
    ],
)
@pytest.mark.parametrize("limit", [80, 1000])
def test_a_text_keeps_to_its_limit_whatever_the_value(value: Any, limit: int) -> None:
    assert 20 < len(short_text(value, limit)) <= limit


def test_a_short_text_of_plain_values_masks_secrets() -> None:
    assert short_text({"a": [{"api_key": SECRET}, None, True, 1.5]}) == (
        "{'a': [{'api_key': ***}, None, True, 1.5]}"
    )


def test_pprint_and_rich_show_everything() -> None:
    for printed in (pprint.pformat, rich_text):
        text = printed(PAGE.set("records", PAGE["records"][:20]))
        assert text.count("'config_1'") == 20
        assert "Decimal" not in text


def test_ipython_shows_a_list_of_instances_in_short() -> None:
    assert len(ipython_text([LogResponse(LONG)] * 3)) < 3 * 2500


def test_ipython_indents_parts() -> None:
    made = LogResponse(
        id="x",
        config={"id": "c", "type": "model", "model": "gpt-4", "temperature": 0.2},
        inputs={"questions": ["When?", "Who?"], "tries": 1},
    )
    assert str(
        pytest.importorskip("IPython.lib.pretty").pretty(made, max_width=60)
    ).splitlines() == [
        "LogResponse({",
        "    'id': 'x',",
        "    'config': ModelConfigResponse({",
        "        'id': 'c',",
        "        'type': 'model',",
        "        'model': 'gpt-4',",
        "        'temperature': 0.2",
        "    }),",
        "    'inputs': {'questions': ('When?', 'Who?'), 'tries': 1}",
        "})",
    ]


def test_numbers_alone_show_their_digits() -> None:
    numbers = ListSchema([0.2, 3, 1e-9, Decimal("0.10")])
    assert repr(list(numbers)) == "[0.2, 3, 1E-9, 0.10]"


# -- the rest -------------------------------------------------------------------------------------


def test_the_rest_of_the_library() -> None:
    assert len(reprlib.repr(LOG)) < 100
    record = logging.LogRecord("x", logging.INFO, "", 1, "%s and %r", (LOG, LOG), None)
    assert record.getMessage() == f"{LOG!r} and {LOG!r}"


SECRET = "sk-abcdefghijklmnop"
KEYS = {"$ref": "#/components/schemas/Keys"}


@pytest.mark.parametrize("printed", [*PRINTERS, html_text])
@pytest.mark.parametrize(
    "value",
    [
        ProviderApiKeys(openai=SECRET),
        DictSchema(a=[{"b": {"openai_api_key": SECRET, "c": "x" * 80}}]),
        ListSchema([{"password": [SECRET]}]),
        make({"items": KEYS}, Keys={"x-secret": True})([{"openai": SECRET, "other": "x" * 80}]),
        make({"anyOf": [KEYS]}, Keys={"x-secret": True})({"openai": SECRET}),
    ],
)
def test_no_secret_is_shown(printed: Callable[[Any], str], value: Any) -> None:
    text = printed(value)
    assert SECRET not in text
    assert "***" in text


@pytest.mark.parametrize("printed", PRINTERS[1:])
@pytest.mark.parametrize("objects", [False, True])
def test_pretty_printers_do_not_recurse_for_ever(
    printed: Callable[[Any], str], objects: bool
) -> None:
    """They recurse themselves; what is very deep stands in one line."""
    made = DictSchema(a=nested(DEPTH, objects=objects))
    with deadline(30):
        assert printed(made).count("{" if objects else "(") >= 40
        assert printed([made, LOG]).count("LogResponse") == 1
