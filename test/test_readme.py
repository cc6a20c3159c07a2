"""README.md keeps its word: its Python runs, its links lead somewhere, its lines are one each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from humanloop.apis.operations import OPERATIONS
from humanloop.server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    return found


def section(title: str) -> str:
    [found] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.M | re.S)
    return str(found)


def test_its_python_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its blocks in their order, with what `humanloop serve` says to export."""
    with EmbeddedServer() as server:
        monkeypatch.setenv("HUMANLOOP_BASE_URL", server.url)
        monkeypatch.setenv("HUMANLOOP_API_KEY", server.api_key)
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), {})
    output = capsys.readouterr().out
    for line in (
        r"^data_\w{21} It arrives on Friday\. good$",
        r"^/project .* number 7$",
        r"^/temprature .*'temperature'",
        r"^/stop/1 ",
        r"^404 ",
        r"^pr_\w{21}$",
        r"^rating good True$",
    ):
        assert re.search(line, output, re.M), line


@pytest.mark.parametrize("title", ["Run it", "Test it"])
def test_one_line_does_it(title: str) -> None:
    line = blocks("sh", section(title))[0]
    assert line.count("\n") == 1
    assert "\\\n" not in line


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_counts_the_operations() -> None:
    counts = {
        attribute: int(count)
        for attribute, count in re.findall(
            r"^\| `client\.(\w+)` \|.*\| (\d+) \|$",
            section("Documentation for API Endpoints"),
            re.M,
        )
    }
    names = [operation.name.split(".")[0] for operation in OPERATIONS]
    assert counts == {name: names.count(name) for name in names}
