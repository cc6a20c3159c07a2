"""No module of the package imports another in a circle: at run time, lazily, or for types alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "humanloop"
# Their tables of lazy names (PEP 562) are for users: what they import is loaded by nobody in here.
FOR_USERS = {"humanloop", "humanloop.apis", "humanloop.model", "humanloop.server"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(source: str) -> Iterator[str]:
    """The modules that a source imports, anywhere in it; `from x import y` may import x.y."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def graph() -> dict[str, set[str]]:
    edges = {
        name: {found for found in imports_of(path.read_text("utf-8")) if found in MODULES}
        for name, path in MODULES.items()
    }
    return edges | {name: set[str]() for name in FOR_USERS}


def circle_in(edges: dict[str, set[str]]) -> list[str]:
    """A path that comes back to where it began; empty where there is none."""
    done: set[str] = set()

    def search(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for following in sorted(edges[name]):
            if found := search(following, [*path, name]):
                return found
        done.add(name)
        return []

    return next(filter(None, (search(name, []) for name in edges)), [])


def test_the_search_finds_circles() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert set(imports_of("def f():\n  import humanloop.api\n  from humanloop import http")) == {
        "humanloop.api",
        "humanloop.http",
    }


def test_no_module_imports_another_in_a_circle() -> None:
    circle = circle_in(graph())
    assert circle == [], " -> ".join(circle)


def test_nothing_in_the_client_takes_names_from_the_package_itself() -> None:
    """Which would load what the package offers to users, and be a circle."""
    outside = ("humanloop.server", "humanloop.cli", "humanloop.quickstart")
    direct = {
        name
        for name, path in MODULES.items()
        if "humanloop" in imports_of(path.read_text("utf-8")) and not name.startswith(outside)
    }
    assert direct == set()
