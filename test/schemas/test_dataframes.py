"""Records as flat rows and columns, for pandas."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
import yaml

from humanloop import ApiTypeError, ApiValueError, Humanloop
from humanloop.model import LogResponse, PaginatedDataLogResponse
from humanloop.schemas import to_columns, to_dataframe, to_records
from humanloop.testing import TestTransport

FULL: dict[str, Any] = {
    "id": "data_0",
    "config": {
        "id": "config_1",
        "type": "model",
        "model": "gpt-4",
        "temperature": 0.2,
        "max_tokens": 100,
        "stop": ["END"],
    },
    "inputs": {"question": "When?", "tries": 2, "deep": {"a": [None]}},
    "metadata": {"cached": True},
    "messages": [{"role": "user", "content": "Café?"}],
    "output": "On Friday.",
    "feedback": [
        {"type": "rating", "value": "good", "user": "a"},
        {"type": "rating", "value": "good", "user": "b"},
        {"type": "issue", "value": "tone"},
        {"type": "issue", "value": "length"},
        {"type": "score", "value": 4.5},
    ],
    "created_at": "2024-07-01T09:30:00+01:00",
    "duration": 3,
    "provider_response": {"id": "x", "choices": []},
}
BARE: dict[str, Any] = {"id": "data_1", "config": {"id": "c", "type": "model", "model": "m"}}


def page(records: list[Any]) -> Any:
    return PaginatedDataLogResponse(records=records, page=0, size=10, total=len(records))


# -- rows and columns -----------------------------------------------------------------------------


def test_a_log_is_a_flat_row() -> None:
    assert to_records([LogResponse(FULL)]) == [
        {
            "id": "data_0",
            "messages": '[{"role": "user", "content": "Café?"}]',
            "output": "On Friday.",
            "created_at": datetime(2024, 7, 1, 8, 30, tzinfo=timezone.utc),
            "duration": 3.0,
            "provider_response": '{"id": "x", "choices": []}',
            "config.id": "config_1",
            "config.type": "model",
            "config.model": "gpt-4",
            "config.temperature": 0.2,
            "config.max_tokens": 100,
            "config.stop": '["END"]',
            "inputs.question": "When?",
            "inputs.tries": 2,
            "inputs.deep": '{"a": [null]}',
            "metadata.cached": True,
            "feedback.rating": "good",
            "feedback.issue": "tone; length",
            "feedback.score": 4.5,
        }
    ]


def test_the_types_are_those_of_python_itself() -> None:
    types = {type(value) for value in to_records([LogResponse(FULL)])[0].values()}
    assert types == {str, int, float, bool, datetime}


def test_every_row_has_all_columns_in_one_order() -> None:
    first, second = to_records([BARE, FULL])
    assert list(first) == list(second) == list(to_columns([FULL, BARE]))
    assert first["output"] is None
    assert first["config.temperature"] is None
    assert first["config.model"] == "m"


def test_a_new_key_stands_where_its_row_has_it() -> None:
    assert list(to_columns([{"a": 1, "d": 1}, {"a": 1, "b": 1, "c": 1, "d": 1}, {"e": 1}])) == [
        *("e", "a", "b", "c", "d"),
    ]


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1, None, 2], [1, None, 2]),
        ([1, 0.5, None], [1.0, 0.5, None]),
        ([1, Decimal("0.5")], [1.0, 0.5]),
        ([2**60, 1], [2**60, 1]),
        ([2**70, 1], [float(2**70), 1.0]),
        ([10**400, -(10**400)], [float("inf"), -float("inf")]),
        ([True, None], [True, None]),
        ([1, "two", None, True], ["1", "two", None, "true"]),
        ([True, 1.5], ["true", "1.5"]),
        ([[1], "two"], ["[1]", "two"]),
        ([None, None], [None, None]),
    ],
)
def test_a_column_has_values_of_one_type(values: list[Any], column: list[Any]) -> None:
    found = to_columns([{"inputs": {"x": value}} for value in values])
    assert found == {"inputs.x": column}
    assert [type(v) for v in found["inputs.x"]] == [type(v) for v in column]


def test_times_that_can_not_be_read_stay_text() -> None:
    made = to_columns([{"created_at": "2024-07-01T09:30:00Z"}, {"created_at": "yesterday"}])
    assert made == {"created_at": ["2024-07-01T09:30:00Z", "yesterday"]}
    assert to_columns([{"created_at": "0001-01-01T00:00:00+05:00"}])["created_at"] == [
        "0001-01-01T00:00:00+05:00"
    ]


def test_null_in_place_of_an_object_is_no_column() -> None:
    assert to_columns([{"metadata": None}, {"metadata": {"a": 1}}]) == {"metadata.a": [None, 1]}
    assert to_columns([{"metadata": None}]) == {"metadata": [None]}
    assert to_columns([{"id": 1, "metadata": {}, "feedback": []}]) == {"id": [1]}


def test_keys_with_dots_have_columns_of_their_own() -> None:
    nested = {"inputs": {"a": 1, "b.c": 2}, "feedback": {"type": "x.y", "value": "good"}}
    flat = {"inputs.a": 3, "feedback.x.y": 4}
    for records in ([nested | flat], [flat | nested]):
        assert to_columns(records) == {
            **{"inputs.a_": [3], "feedback.x.y_": [4]},
            **{"inputs.a": [1], "inputs.b.c": [2], "feedback.x.y": ["good"]},
        }
    assert to_columns([nested, flat])["inputs.a"] == [1, None]
    assert to_columns([flat]) == {"inputs.a": [3], "feedback.x.y": [4]}


def test_feedback_alone_is_as_feedback_in_an_array() -> None:
    one = {"type": "rating", "value": "good"}
    assert to_columns([{"feedback": one}, {"feedback": None}, {"feedback": "odd"}]) == {
        "feedback": [None, None, "odd"],
        "feedback.rating": ["good", None, None],
    }


@pytest.mark.parametrize(
    ("values", "cell"),
    [
        (["good", "bad", "good"], "good; bad"),
        ([None, "good"], "good"),
        ([True, 1, True], "true; 1"),
        ([None, None], None),
    ],
)
def test_values_of_one_type_of_feedback(values: list[Any], cell: Any) -> None:
    feedback = [{"type": "rating", "value": value} for value in values]
    assert to_columns([{"feedback": feedback}]) == {"feedback.rating": [cell]}


def test_every_time_and_every_number_of_the_api_has_its_type() -> None:
    with open("openapi.yaml", encoding="utf-8") as file:
        components = yaml.safe_load(file)["components"]["schemas"]
    properties = [
        item for each in components.values() for item in each.get("properties", {}).items()
    ]
    times = {name for name, schema in properties if schema.get("format") == "date-time"}
    numbers = {name for name, schema in properties if schema.get("type") == "number"}
    assert len(times) > 2
    assert len(numbers) > 5
    for name in times:
        assert isinstance(to_columns([{name: "2024-07-01T09:30:00Z"}])[name][0], datetime)
    for name in numbers:
        assert isinstance(to_columns([{name: 1}])[name][0], float)


# -- what holds records ---------------------------------------------------------------------------


@pytest.fixture
def client() -> Iterator[Humanloop]:
    transport = TestTransport()
    for number in range(2):
        body = {
            "records": [{**BARE, "id": f"data_{number}"}],
            "page": number,
            "size": 1,
            "total": 2,
        }
        transport.reply("projects.export", body, times=1)
    with Humanloop(api_key="hl_key_of_a_test", transport=transport) as made:
        yield made


def test_records_come_from_whatever_holds_them(client: Humanloop) -> None:
    expected = to_records([FULL, BARE])
    records = [LogResponse(FULL), LogResponse(BARE)]
    for held in (
        records,
        tuple(records),
        iter(records),
        page(records),
        page(records).to_primitive(),
        page(records)["records"],
        [page([FULL]), page([BARE])],
        {"records": records, "total": 2},
    ):
        assert to_records(held) == expected
    assert to_records(LogResponse(FULL)) == to_records([FULL])
    answer = client.projects.export(id="pr_1")
    assert [row["id"] for row in to_records(answer)] == ["data_0"]


def test_page_iterators_have_methods(client: Humanloop) -> None:
    rows = client.projects.iterate_export(id="pr_1", size=1).to_records()
    assert [row["id"] for row in rows] == ["data_0", "data_1"]


def test_whole_pages(client: Humanloop) -> None:
    pages = client.projects.iterate_export(id="pr_1", size=1).pages()
    assert [row["id"] for row in to_records(pages)] == ["data_0", "data_1"]


def test_asynchronous_page_iterators(client: Humanloop) -> None:
    rows = asyncio.run(client.projects.aiterate_export(id="pr_1", size=1).to_records())
    assert [row["id"] for row in rows] == ["data_0", "data_1"]


@pytest.mark.parametrize("value", [None, 1, "text", b"", ["text"], [FULL, 1]])
def test_what_holds_no_records(value: Any) -> None:
    with pytest.raises(ApiTypeError, match="expected records: a page, or an iterable of objects"):
        to_records(value)


def test_values_that_json_has_no_place_for() -> None:
    with pytest.raises(ApiValueError):
        to_records([{"a": object()}])


def test_no_records() -> None:
    assert to_records([]) == to_records(page([])) == []
    assert to_columns([]) == {}


# -- pandas ---------------------------------------------------------------------------------------


def test_the_types_of_pandas(client: Humanloop) -> None:
    pandas = pytest.importorskip("pandas")
    logs = [LogResponse(BARE)] * 150 + [LogResponse(FULL)]
    table = to_dataframe(logs)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        **dict.fromkeys(table.columns, str(pandas.Series(["a", None]).dtype)),
        "created_at": "datetime64[ns, UTC]",
        "duration": "float64",
        "config.temperature": "float64",
        "config.max_tokens": "Int64",
        "inputs.tries": "Int64",
        "metadata.cached": "boolean",
        "feedback.score": "float64",
    }
    assert list(table.columns) == list(to_columns(logs))
    assert table["config.temperature"].mean() == 0.2
    assert table["created_at"].max() == datetime(2024, 7, 1, 8, 30, tzinfo=timezone.utc)
    assert table["inputs.tries"].sum() == 2
    assert table.equals(page(logs).to_dataframe())
    assert table.equals(to_dataframe(page(logs).to_primitive()))
    exported = client.projects.iterate_export(id="pr_1", size=1).to_dataframe()
    assert exported["id"].tolist() == ["data_0", "data_1"]


def test_asynchronous_frames(client: Humanloop) -> None:
    pytest.importorskip("pandas")
    frame = asyncio.run(client.projects.aiterate_export(id="pr_1", size=1).to_dataframe())
    assert frame["id"].tolist() == ["data_0", "data_1"]


def test_an_empty_frame() -> None:
    pytest.importorskip("pandas")
    assert to_dataframe([]).empty
    assert len(LogResponse(FULL).to_dataframe()) == 1


def test_moments_beyond_nanoseconds() -> None:
    pytest.importorskip("pandas")
    table = to_dataframe([{"created_at": "9000-01-01T00:00:00Z"}, {"created_at": None}])
    assert str(table["created_at"].dtype) == "datetime64[us, UTC]"
    assert table["created_at"][0].year == 9000


WITHOUT_PANDAS = """
import sys
sys.modules["pandas"] = None
from humanloop.schemas import to_columns, to_dataframe
assert to_columns([{"a": 1}]) == {"a": [1]}
try:
    to_dataframe([{"a": 1}])
except ImportError as error:
    print(error)
"""


def test_without_pandas() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANDAS], capture_output=True, text=True, check=True
    )
    assert done.stdout == "to_dataframe needs pandas: pip install pandas\n"
