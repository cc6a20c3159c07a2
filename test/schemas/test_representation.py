"""What an instance looks like to repr, pprint, rich, IPython, logging: at any depth, no secret."""

from __future__ import annotations

import io
import logging
import pprint
import reprlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from humanloop.model import LogResponse, ProviderApiKeys
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
    "'inputs': {'a': (Decimal('1'), (), {}), 'b': True}})"
)


def test_repr() -> None:
    made = LogResponse(
        id="x",
        config={"id": "c", "type": "model", "model": "m"},
        messages=[{"role": "user", "name": None}],
        inputs={"a": [1, [], {}], "b": True},
    )
    assert repr(made) == str(made) == f"{made}" == SHORT
    assert repr(ListSchema([1, "a"])) == "(Decimal('1'), 'a')"
    assert repr(ListSchema([1])) == "(Decimal('1'),)"
    assert repr(ListSchema([])) == "()"
    assert repr(DictSchema()) == "{}"


def rich_text(value: Any) -> str:
    rich = pytest.importorskip("rich.console")
    file = io.StringIO()
    rich.Console(file=file, width=80, color_system=None).print(value)
    return file.getvalue()


def ipython_text(value: Any) -> str:
    return str(pytest.importorskip("IPython.lib.pretty").pretty(value, max_width=80))


PRINTERS: list[Callable[[Any], str]] = [repr, pprint.pformat, rich_text, ipython_text]


@pytest.mark.parametrize("printed", PRINTERS)
def test_a_representation_is_python(printed: Callable[[Any], str]) -> None:
    """Read again as Python, it is the value."""
    from decimal import Decimal

    names: dict[str, Any] = {"Decimal": Decimal}
    for name in ("LogResponse", "ModelConfigResponse", "ChatMessage"):
        names[name] = dict
    again = eval(printed(LOG), names)
    assert again == {**LOG, "inputs": dict(LOG.inputs)}


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


def test_the_rest_of_the_library() -> None:
    assert len(reprlib.repr(LOG)) < 100
    record = logging.LogRecord("x", logging.INFO, "", 1, "%s and %r", (LOG, LOG), None)
    assert record.getMessage() == f"{LOG!r} and {LOG!r}"


SECRET = "sk-abcdefghijklmnop"
KEYS = {"$ref": "#/components/schemas/Keys"}


@pytest.mark.parametrize("printed", PRINTERS)
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
        text = printed(made).replace("\n", "")
        assert text.count("{" if objects else "(") >= DEPTH
        assert printed([made, LOG]).count("LogResponse") == 1
