"""Write the site's sources into build/docs: README.md, docs/, the generator's page, linked files.

Invariants: each page has the same path as in the repository, so relative links work in both; no
page exists for the site alone; a page's words are never changed, only Markdown that the site's
parser reads in another way than GitHub, and the labels of tables for narrow windows.
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
"""The folders of generated pages, by the menus that list them."""

HOME_WITHOUT_MENU = "---\nhide:\n  - navigation\n---\n"


def main() -> None:
    """Write the pages, the files that they link to, and the configuration with its menus."""
    shutil.rmtree(TARGET, ignore_errors=True)
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "codegen" / "README.md"]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        home = HOME_WITHOUT_MENU if page == ROOT / "README.md" else ""
        write(page, home + for_site(text, is_generated=page.parent in GENERATED.values()))
    for path in (SITE / "style.css", *linked_files(pages)):
        write(path, path.read_text(encoding="utf-8"))
    settings = (SITE / "zensical.toml").read_text(encoding="utf-8")
    for menu, folder in GENERATED.items():
        settings = settings.replace(f'"{menu}" = []', f'"{menu}" = [{entries(folder)}]')
    (TARGET / "zensical.toml").write_text(settings, encoding="utf-8")


def write(path: Path, text: str) -> None:
    """Write `text`, the content of a path in the repository, to the same path of the site."""
    target = TARGET / "pages" / path.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def entries(folder: Path) -> str:
    """Return the menu of a folder: its pages by the names of their classes."""
    pages = sorted(folder.glob("*.md"))
    return ", ".join(f'{{ "{p.stem}" = "{p.relative_to(ROOT).as_posix()}" }}' for p in pages)


def linked_files(pages: list[Path]) -> Iterator[Path]:
    """Yield the files that pages link to and that are not pages themselves."""
    for page in pages:
        for link in re.findall(r"\]\(([^()#:\s]+)\)", page.read_text(encoding="utf-8")):
            path = (page.parent / link).resolve()
            if path.is_file() and path.suffix != ".md":
                yield path


def for_site(markdown: str, *, is_generated: bool) -> str:
    """Return GitHub's Markdown in the form that the site's parser wants; code stays unchanged."""
    lines: list[str] = []
    in_code, titles = False, 0
    columns: list[str] = []  # the titles of the table that the line is in
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
            if re.fullmatch(r"[ |-]*---[ |-]*\|[ |-]*", line):
                columns = cells(lines[-1])
            elif columns and "|" in line:
                line = labelled(line, columns)
            else:
                columns = []
            line = line.replace("<details>", '<details markdown="1">')
        lines.append(line)
    return "\n".join(lines)


def cells(row: str) -> list[str]:
    """Return the cells of a table's row."""
    return [
        cell.strip() for cell in re.split(r"(?<!\\)\|", row.removeprefix("|").removesuffix("|"))
    ]


def labelled(row: str, columns: list[str]) -> str:
    """Return a table's row with its column's title as an attribute of each cell.

    Where the window is too narrow for a table, style.css shows the cells one below the other.
    """
    found = " | ".join(
        f'{cell} {{: data-label="{title.replace("`", "")}" }}' if cell else ""
        for cell, title in zip(cells(row), columns, strict=True)
    )
    return f"| {found} |" if row.startswith("|") else found


if __name__ == "__main__":
    main()
