"""Text as Markdown that GitHub and site generators read in the same way.

Invariants: a table's cell stays on one line; backticks are the only markup characters of a text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

__all__ = ["anchor", "cell", "linked", "with_sections"]


def anchor(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def cell(text: str, *, quotes: bool = True) -> str:
    """Return `text` for a table's cell; without `quotes`, quotation marks stay unchanged.

    Entities have no effect inside `code`, and a pipe may have a backslash only there.
    """
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))  # text, code, text, ...
    for at, part in enumerate(parts):
        if at % 2:
            parts[at] = part.replace("|", r"\|")
        else:
            escaped = html.escape(part, quote=quotes).replace("|", "&#124;")
            parts[at] = escaped.replace("`", "&#x60;")  # a backtick without a partner
    return "".join(parts)


def linked(hint: str, pages: Mapping[str, str]) -> str:
    """Return a type hint for a table's cell; `pages` maps class names to addresses."""

    def link(word: re.Match[str]) -> str:
        name = word[0]
        return f"[{name}]({pages[name]})" if name in pages else name

    return re.sub(r"\b[A-Za-z]\w*\b", link, re.sub(r"([\[\]|])", r"\\\1", hint))


def with_sections(text: str, sections: Mapping[str, str]) -> str:
    """Return `text` with new contents under its headings `## HEADING`.

    Raises ValueError unless `text` has each heading exactly once.
    """
    parts = re.split(r"^(?=## )", text, flags=re.M)
    titles = [part.partition("\n")[0] for part in parts]
    for heading, content in sections.items():
        if (found := titles.count(f"## {heading}")) != 1:
            raise ValueError(f"expected one section '## {heading}', found {found}")
        parts[titles.index(f"## {heading}")] = f"## {heading}\n\n{content.strip()}\n\n"
    return "".join(parts).rstrip() + "\n"
