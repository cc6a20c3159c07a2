"""The rooms of the server, each of which knows only those after it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from humanloop import server

ROOMS = ("transfer", "http", "operations", "generation", "store", "evaluation")
FOLDER = Path(server.__file__).parent


def imported(source: str) -> set[str]:
    """The modules that a source imports, type-only and lazy imports included."""
    found = {node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    return {f"{node.module}.{alias.name}" for node in found for alias in node.names}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_only_those_after_it(room: str) -> None:
    before = tuple(f"humanloop.server.{other}." for other in ROOMS[: ROOMS.index(room)])
    sources = [path.read_text() for path in (FOLDER / room).rglob("*.py")]
    names = set[str]().union(*map(imported, sources))
    assert any(name.startswith("humanloop.server.") for name in names)
    assert not {name for name in names if name.startswith(before or ("nothing",))}
