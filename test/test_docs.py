"""The documentation's Python runs and prints what the pages show, and its links lead somewhere.

The rules for a page:

- Its `python` blocks run in order, in one namespace, with `HUMANLOOP_BASE_URL` and
  `HUMANLOOP_API_KEY` set for an embedded server of the page's own. On README each block runs alone,
  with a namespace and a server of its own, because readers paste single blocks.
- A `text` block right below a `python` block is its output; `...` stands for anything.
- On the pages of the tags, an ID of 21 characters stands for an existing object.
- `<!-- needs: NAME -->` right above a block: it runs only if that package is installed, as in the
  tox environment `docs`. `<!-- not run: REASON -->`: it never runs.
- Shell is `sh`, data is `json`, and everything else is `text`.
"""

from __future__ import annotations

import contextlib
import doctest
import html
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from humanloop import Humanloop
from humanloop.configuration import ConnectionOptions
from humanloop.server import EmbeddedServer, Settings
from humanloop.server.generation.mock import Mock

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
README = ROOT / "README.md"
LANGUAGES = {"json", "python", "sh", "text"}
NUMBERS = count(1)
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[a-z ]+): (?P<what>[^\n]+) -->\n)?"
    r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.M | re.S,
)
ID = re.compile(r"\b(?:config|data|env|ev|evfn|evtc|evts|exp|pr|sesh)_\w{21}\b")
LINK = re.compile(r"\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; `printed` is the output that the page shows below it."""

    language: str
    code: str
    line: int
    mark: str | None = None
    what: str = ""
    printed: str | None = None


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks_of(text: str) -> Iterator[Block]:
    fences = list(FENCE.finditer(text))
    for fence, following in zip(fences, [*fences[1:], None], strict=False):
        printed = None
        if following and following["language"] == "text" and not following["mark"]:
            between = text[fence.end() : following.start()]
            printed = None if between.strip() else following["code"]
        line = text.count("\n", 0, fence.start("code"))
        yield Block(
            fence["language"], fence["code"], line, fence["mark"], fence["what"] or "", printed
        )


def section(title: str) -> str:
    [found] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text_of(README), re.M | re.S)
    return str(found)


def runs(block: Block) -> bool:
    if block.language != "python" or block.mark == "not run":
        return False
    return block.mark != "needs" or find_spec(block.what) is not None


def is_reference(page: Path) -> bool:
    """Tell whether this is the page of a tag, where each example is a call of its own."""
    return page.parent.name == "tags"


def existing_ids(project: str) -> dict[str, list[str]]:
    """Create objects in a project, and return their IDs by prefix."""
    number = next(NUMBERS)
    with Humanloop() as client:
        common: Any = {"project": project, "config": {"model": "gpt-4"}}
        session = client.sessions.create().body["id"]
        copied = {"type": "action", "value": "copied"}
        logged = [client.log(**common, session_id=session, feedback=copied).body for _ in range(2)]
        configs = [
            client.model_configs.register(
                project=project,
                model="gpt-4",
                temperature=temperature,
                prompt_template="Hello!",
                chat_template=[],
            ).body["config"]["id"]
            for temperature in (0.1, 0.9)
        ]
        project_id = logged[0]["project_id"]
        experiment = client.experiments.create(
            project_id=project_id,
            name=f"experiment {number}",
            config_ids=configs[:1],
            positive_labels=[{"type": "rating", "value": "good"}],
        ).body["id"]
        [environment, *_] = client.projects.deploy_config(
            project_id=project_id, config_id=configs[0]
        ).body
        testset = client.testsets.create(
            project_id=project_id, name=f"testset {number}", description=""
        ).body["id"]
        testcases = client.testsets.create_testcase(
            testset_id=testset, body=[{"inputs": {"a": "b"}}] * 2
        ).body
        evaluator = client.evaluators.create(
            name=f"evaluator {number}",
            description="",
            code="def f(log, testcase=None):\n    return True\n",
            arguments_type="target_free",
            return_type="boolean",
        ).body["id"]
        evaluation = client.evaluations.create(
            project_id=project_id,
            config_id=configs[0],
            testset_id=testset,
            evaluator_ids=[evaluator],
        ).body["id"]
    return {
        "pr": [project_id],
        "sesh": [session],
        "data": [log["id"] for log in logged],
        "config": configs,
        "exp": [experiment],
        "env": [environment["environment_id"]],
        "ev": [evaluation],
        "evfn": [evaluator],
        "evtc": [testcase["id"] for testcase in testcases],
        "evts": [testset],
    }


def with_existing_ids(code: str) -> str:
    """Return `code` with the IDs of existing objects in place of the ones that it shows."""
    shown = sorted(set(ID.findall(code)))
    if shown:
        named = re.search('project="([^"]+)"', code)
        existing = existing_ids(named[1] if named else f"project {next(NUMBERS)}")
        for name in shown:
            code = code.replace(name, existing[name.partition("_")[0]].pop(0))
    return code


def run(page: Path, block: Block, namespace: dict[str, Any]) -> None:
    """Run a block and compare its output; tracebacks show the page's line numbers."""
    source = with_existing_ids(block.code) if is_reference(page) else block.code
    code = compile("\n" * block.line + source, str(page), "exec")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, namespace)
    if block.printed is not None:
        printed = output.getvalue()
        as_shown = doctest.OutputChecker().check_output(block.printed, printed, doctest.ELLIPSIS)
        assert as_shown, f"{name_of(page)}:{block.line} prints\n{printed}"


def programs() -> Iterator[Any]:
    """Yield the blocks that run together: all of a page, but each block of README alone."""
    for page in PAGES:
        blocks = [block for block in blocks_of(text_of(page)) if runs(block)]
        if page == README:
            for block in blocks:
                yield pytest.param(page, [block], id=f"{name_of(page)}:{block.line}")
        elif blocks:
            yield pytest.param(page, blocks, id=name_of(page))


@pytest.mark.parametrize(("page", "blocks"), [*programs()])
def test_python_runs(
    page: Path, blocks: list[Block], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    # The reference shows models of a provider for which the embedded server has no adapter.
    settings = Settings(providers={"mock": Mock(), "openai": Mock()})
    with EmbeddedServer(settings=settings if is_reference(page) else None) as server:
        monkeypatch.setenv("HUMANLOOP_BASE_URL", server.url)
        monkeypatch.setenv("HUMANLOOP_API_KEY", server.api_key)
        monkeypatch.setenv("HUMANLOOP_SPOOL", str(tmp_path / "spool"))
        for block in blocks:
            run(page, block, namespace)
        for value in namespace.values():
            if isinstance(value, Humanloop):
                value.close()


def test_blocks_have_a_known_language_and_mark() -> None:
    wrong = [
        f"{name_of(page)}:{block.line}: {block.language or 'no language'} {block.mark or ''}"
        for page in PAGES
        for block in blocks_of(text_of(page))
        if block.language not in LANGUAGES or block.mark not in (None, "needs", "not run")
    ]
    assert wrong == []


def test_output_is_compared() -> None:
    """The shown output must match, with `...` for anything."""
    page = ROOT / "docs" / "page.md"
    [right, _] = blocks_of("```python\nprint('pr_1', 2)\n```\n\n```text\npr_... 2\n```\n")
    run(page, right, {})
    [wrong, _] = blocks_of("```python\nprint('pr_1', 3)\n```\n\n```text\npr_... 2\n```\n")
    with pytest.raises(AssertionError, match="pr_1 3"):
        run(page, wrong, {})


@pytest.mark.parametrize("title", ["Run it", "Test it"])
def test_one_line_does_it(title: str) -> None:
    line = next(block.code for block in blocks_of(section(title)) if block.language == "sh")
    assert line.count("\n") == 1
    assert "\\\n" not in line


def test_no_page_and_no_message_installs_the_package_from_pypi() -> None:
    """PyPI's package of this name is another SDK."""
    by_name = re.compile(r"install [^\n]*(?<![\w./-])humanloop(?![\w.-])")
    sources = [*(ROOT / "humanloop").rglob("*.py"), *(ROOT / "codegen").rglob("*.*")]
    texts = [path for path in (*PAGES, *sources) if path.suffix in (".md", ".py", ".j2")]
    assert [name_of(path) for path in texts if by_name.search(path.read_text("utf-8"))] == []


def test_every_setting_is_described() -> None:
    names = set(re.findall(r"^\| `(\w+)`", text_of(ROOT / "docs" / "configuration.md"), re.M))
    assert set(ConnectionOptions.__annotations__) <= names


def test_every_page_is_in_a_menu_of_the_site() -> None:
    settings = (ROOT / "docs" / "site" / "zensical.toml").read_text(encoding="utf-8")
    by_hand = [name_of(page) for page in PAGES if page.parent in (ROOT, ROOT / "docs")]
    assert [name for name in by_hand if f'"{name}"' not in settings] == []


@pytest.mark.parametrize("directory", [".", "docs", "docs/apis/tags", "docs/models"])
def test_links_lead_somewhere(directory: str) -> None:
    pages = [page for page in PAGES if page.parent == ROOT / directory]
    assert [broken for page in pages for broken in broken_links(page)] == []


def broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(without_code(text_of(page))):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        is_page = target.suffix == ".md" and target.is_file()
        if (
            not target.exists()
            or not target.is_relative_to(ROOT)
            or (anchor and not (is_page and anchor in anchors(target)))
        ):
            yield f"{name_of(page)}: {link}"


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page: those that GitHub makes of headings, and its own."""
    text = without_fences(text_of(page))
    found = re.findall(r"<a (?:name|id)=\"([^\"]+)\"", text)
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)?$", text, re.M):
        slug = slug_of(heading)
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def slug_of(heading: str) -> str:
    shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    shown = re.sub(r"<[^>]*>|[`*]|\\(?=[^\w\s])", "", shown)
    words = re.sub(r"[^\w\- ]", "", html.unescape(shown).strip().lower())
    return words.replace(" ", "-")


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", without_fences(text))
