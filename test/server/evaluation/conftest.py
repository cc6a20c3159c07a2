"""One engine with the default limits, as a server has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from humanloop.server.evaluation.engine import Engine
from humanloop.server.evaluation.engines import open_engine


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    pytest.importorskip("pydantic_monty", reason="the extra `evaluators` is not installed here")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine of all tests that need nothing special of it."""
    running = open_engine()
    yield running
    running.close()
