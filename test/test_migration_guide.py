"""Each row of the guide's table of idioms is run: the idiom of 0.5, and what to write instead."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from humanloop import schemas
from humanloop.model import LogResponse, PaginatedDataLogResponse

GUIDE = Path(__file__).parents[1] / "docs" / "migrating-from-0.5.md"
ROWS = re.findall(r"^\| `(.+)` \| (.+) \| `(.+)` \|$", GUIDE.read_text("utf-8"), re.M)
LOG: dict[str, Any] = {
    "id": "data_1",
    "config": {"id": "config_1", "type": "model", "model": "gpt-4", "stop": ["END"]},
    "inputs": {"order": None, "urgent": True, "count": 3},
    "output": "b",
    "duration": 0.7,
}
PAGE = {"page": 0, "size": 2, "total": 2, "records": [LOG, {**LOG, "output": "a"}]}


def result(code: str, log: Any, page: Any) -> Any:
    """What a row's code gives with such bodies: its value, or what it has changed; or its error."""
    names: dict[str, Any] = {
        **{"Decimal": Decimal, "Mapping": Mapping, "copy": copy, "json": json, "math": math},
        **{"schemas": schemas, "log": log, "body": page, "records": page["records"]},
    }
    try:
        try:
            value: Any = eval(code, names)
        except SyntaxError:
            exec(code, names)
            value = None
        found = value, names["log"], list(names["records"])
        return json.loads(schemas.to_json(found))
    except (AttributeError, TypeError) as error:
        return f"raises `{type(error).__name__}`"


@pytest.mark.parametrize(("before", "now", "instead"), ROWS)
def test_an_idiom_and_what_to_write_instead(before: str, now: str, instead: str) -> None:
    log, page = LogResponse(LOG), PaginatedDataLogResponse(PAGE)
    wanted = result(before, copy.deepcopy(LOG), copy.deepcopy(PAGE))
    assert result(instead, log, page) == wanted
    assert not isinstance(wanted, str)
    as_before = result(before, log, page)
    if now.startswith("raises"):
        assert as_before.replace("ApiAttributeError", "AttributeError") == now
    elif now.startswith("`"):
        assert now.startswith(f"`{as_before[0]}`")
        assert as_before[0] != wanted[0]
    if "to_json" not in instead and "to_primitive" not in instead:
        assert result(instead, copy.deepcopy(LOG), copy.deepcopy(PAGE)) == wanted


def test_the_table_is_there() -> None:
    assert len(ROWS) >= 15
