"""The server takes as long with a million logs as with some thousands; the chart is in build/."""

from __future__ import annotations

import os
from pathlib import Path

from bench import chart, load

LOGS = int(1_000_000 * float(os.environ.get("HUMANLOOP_TEST_SCALE", "1")))
DEEP = {"page in the middle", "last page"}  # these go past others in the index


def test_operations_take_no_longer_in_a_database_that_has_grown() -> None:
    points = load.grow(LOGS)
    build = Path(load.ROOT) / "build"
    build.mkdir(exist_ok=True)
    (build / "server-growth.svg").write_text(chart.operations(points), "utf-8")
    first = {name: spent for name, size, spent in reversed(points)}
    last = {name: spent for name, size, spent in points}
    for name, spent in last.items():
        per_log = 0.0002 if name in DEEP else 0  # milliseconds
        assert spent < 4 * first[name] + 10 + per_log * LOGS, f"{name}: {points}"
