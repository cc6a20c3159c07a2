"""Numbers and records in libraries that are too large to install for each Python.

They run where the examples of the documentation do, which need these as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from humanloop.model import LogResponse
from humanloop.schemas import NumberSchema, to_columns, to_records


def test_polars_takes_columns_and_rows() -> None:
    polars = pytest.importorskip("polars")
    bare: Any = {"id": "data_1", "config": {"id": "config_1", "type": "model", "model": "gpt-4"}}
    full = LogResponse(
        bare,
        inputs={"tries": 2},
        metadata={"cached": True},
        output="On Friday.",
        feedback=[{"type": "issue", "value": "tone"}],
        created_at="2024-07-01T09:30:00+01:00",
        duration=3,
    )
    logs = [LogResponse(bare)] * 150 + [full]
    table = polars.DataFrame(to_columns(logs))
    assert table.columns == list(to_columns(logs))
    assert table.schema["created_at"] == polars.Datetime("us", "UTC")
    assert table.schema["duration"] == polars.Float64
    assert table.schema["inputs.tries"] == polars.Int64
    assert table.schema["metadata.cached"] == polars.Boolean
    assert table.schema["feedback.issue"] == polars.String
    assert table["output"][150] == "On Friday."
    assert table.equals(polars.DataFrame(to_records(logs), infer_schema_length=None))


@pytest.fixture
def axes() -> Iterator[Any]:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    figure, made = pyplot.subplots()
    yield made
    figure.canvas.draw()
    pyplot.close(figure)


def test_matplotlib_draws_numbers(axes: Any) -> None:
    numbers = [NumberSchema(0.7), NumberSchema(0.1), NumberSchema(3)]
    (line,) = axes.plot(numbers, alpha=numbers[0], linewidth=NumberSchema(2))
    assert line.get_ydata().tolist() == [0.7, 0.1, 3.0]
    assert axes.scatter([1, 2, 3], numbers).get_offsets()[:, 1].tolist() == [0.7, 0.1, 3.0]
    assert [patch.get_height() for patch in axes.bar([1, 2, 3], numbers)] == [0.7, 0.1, 3.0]
    axes.hist(numbers, bins=NumberSchema(4))
    axes.set_ylim(0, NumberSchema(4))
    axes.axhline(numbers[0])
