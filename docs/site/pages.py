"""Writes what the site is made of: README.md, docs/ and what they link to, into build/docs.

What stays true: every page is at the place that it has in the repository, so that its relative
links hold in both; no page is written for the site alone, and only what GitHub and the site's
parser read differently is changed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

SITE = Path(__file__).resolve().parent
ROOT = SITE.parents[1]
TARGET = ROOT / "build" / "docs"
GENERATED = {"Operations": ROOT / "docs" / "apis" / "tags", "Models": ROOT / "docs" / "models"}
"""The folders of the pages that codegen writes, by the menus that list them."""

HOME_WITHOUT_MENU = "---\nhide:\n  - navigation\n---\n"


def main() -> None:
    """Write the pages, the files that they link to, and the configuration with its menus."""
    shutil.rmtree(TARGET, ignore_errors=True)
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        home = HOME_WITHOUT_MENU if page.name == "README.md" else ""
        write(page, home + for_site(text, is_generated=page.parent in GENERATED.values()))
    for path in (SITE / "style.css", *linked_files(pages)):
        write(path, path.read_text(encoding="utf-8"))
    settings = (SITE / "zensical.toml").read_text(encoding="utf-8")
    for menu, folder in GENERATED.items():
        settings = settings.replace(f'"{menu}" = []', f'"{menu}" = [{entries(folder)}]')
    (TARGET / "zensical.toml").write_text(settings, encoding="utf-8")


def write(path: Path, text: str) -> None:
    """Write what stands at a path of the repository to the same path of the site."""
    target = TARGET / "pages" / path.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def entries(folder: Path) -> str:
    """The menu of a folder: its pages by the names of their classes."""
    pages = sorted(folder.glob("*.md"))
    return ", ".join(f'{{ "{p.stem}" = "{p.relative_to(ROOT).as_posix()}" }}' for p in pages)


def linked_files(pages: list[Path]) -> Iterator[Path]:
    """What the pages link to that is no page itself."""
    for page in pages:
        for link in re.findall(r"\]\(([^()#:\s]+)\)", page.read_text(encoding="utf-8")):
            path = (page.parent / link).resolve()
            if path.is_file() and path.suffix != ".md":
                yield path


def for_site(markdown: str, *, is_generated: bool) -> str:
    """GitHub's Markdown as the site's parser wants it; code is left alone."""
    lines: list[str] = []
    in_code, titles = False, 0
    for line in markdown.split("\n"):
        in_code ^= line.startswith("```")
        if not in_code:
            titles += line.startswith("# ")
            if line.startswith("#") and titles > 1:
                line = f"#{line}"  # only one title may be on the first level
            if is_generated and line.startswith("###"):
                line = f"#{line}"  # repeated in every section: the table of contents ends above
            if line.startswith("- ") and lines and re.match(r"[^\s\-#]", lines[-1]):
                lines.append("")  # a list right below a line of text would be part of it
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
