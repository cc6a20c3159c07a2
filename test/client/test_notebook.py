"""The HTML tables that notebooks show: escaped, without secrets, of a limited size."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from humanloop.model import LogResponse, PaginatedDataLogResponse, ProviderApiKeys
from humanloop.notebook import html_of
from humanloop.schemas import DictSchema, ListSchema, schema_from_openapi

VOID = {"br"}


class Table(HTMLParser):
    """Reads rows of cells; fails for tags that are not closed in their order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data


def log(number: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": f"data_{number}",
        "config": {"id": "config_1", "type": "model", "model": "gpt-4", "temperature": 0.2},
        "project_id": "pr_1",
        "output": f"Answer {number}",
        "error": "",
        **more,
    }


def test_an_object_is_a_table_of_its_members() -> None:
    made: Any = LogResponse(log(inputs={"tries": [1, 0.5, None, True]}))
    assert Table(made._repr_html_()).rows == [
        ["id", "data_0"],
        [
            "config",
            "ModelConfigResponse({'id': 'config_1', 'type': 'model', 'model': 'gpt-4', "
            "'temperature': 0.2})",
        ],
        ["project_id", "pr_1"],
        ["output", "Answer 0"],
        ["error", ""],
        ["inputs", "{'tries': (1, 0.5, None, True)}"],
    ]


def test_a_page_is_a_table_with_a_row_for_each_record() -> None:
    page: Any = PaginatedDataLogResponse(
        records=[log(n) for n in range(100)], page=0, size=100, total=250
    )
    html = page._repr_html_()
    rows = Table(html).rows
    assert rows[0] == ["id", "config", "output", "error", "project_id"]
    assert rows[1][0] == "data_0"
    assert len(rows) == 21
    assert "<p>PaginatedDataLogResponse, page 0, size 100, total 250</p>" in html
    assert "... 80 more rows" in html
    assert len(html) < 30_000


def test_columns_without_a_value_and_those_beyond_the_tenth_are_left_out() -> None:
    made = ListSchema([{"null": None, "a_id": "x", **{f"c{n}": n for n in range(12)}}] * 2)
    html = html_of(made)
    assert Table(html).rows[0] == [f"c{n}" for n in range(10)]
    assert "... 3 more columns" in html
    assert Table(html_of(ListSchema([{"a": 1}, {"b": 2}]))).rows[1:] == [["1", ""], ["", "2"]]


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (ListSchema(["a", 0.5]), [["0", "a"], ["1", "0.5"]]),
        (ListSchema([]), []),
        (DictSchema(), []),
        (DictSchema(records=[]), [["records", "()"]]),
        (DictSchema(records=[{"a": 1}, 2]), [["records", "({'a': 1}, 2)"]]),
        ({"a": [1]}, [["a", "[1]"]]),
    ],
)
def test_other_values(value: Any, rows: list[list[str]]) -> None:
    assert Table(html_of(value)).rows == rows


EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "value",
    [
        DictSchema({EVIL: EVIL, "nested": {EVIL: [EVIL]}}),
        DictSchema(records=[{EVIL: EVIL, "nested": {EVIL: [EVIL]}}], page=EVIL),
        ListSchema([EVIL]),
        EVIL,
        type(EVIL, (DictSchema,), {})({"a": 1}),
    ],
)
def test_everything_is_escaped(value: Any) -> None:
    html = html_of(value, EVIL)
    assert Table(html).tags <= {"div", "p", "pre", "table", "thead", "tbody", "tr", "td", "th", "b"}
    assert "&lt;script&gt;" in html


SECRET = "sk-abcdefghijklmnop"


@pytest.mark.parametrize(
    "value",
    [
        ProviderApiKeys(openai=SECRET),
        DictSchema(api_key=SECRET),
        schema_from_openapi({"type": "object", "x-secret": True})({"records": [{"a": SECRET}]}),
        DictSchema(records=[{"inputs": {"api_key": SECRET}, "password": SECRET}], token=SECRET),
    ],
)
def test_no_secret_is_shown(value: Any) -> None:
    assert SECRET not in html_of(value)
    assert "***" in html_of(value)


@pytest.mark.parametrize(
    "value",
    [
        DictSchema({f"{n}" * 500: "&" * 10_000 for n in range(1000)}),
        ListSchema(["&" * 10_000] * 1000),
        ListSchema([{f"{n}" * 500: "&" * 10_000 for n in range(100)}] * 100),
    ],
)
def test_the_size_is_limited(value: Any) -> None:
    assert 1000 < len(html_of(value)) < 150_000
