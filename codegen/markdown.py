"""Text as Markdown, for GitHub and for the generators of sites alike.

What stays true: a table's cell stays on one line, and no character of the text is taken for markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

__all__ = ["anchor", "cell", "linked", "with_sections"]


def anchor(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def cell(text: str, *, quotes: bool = True) -> str:
    """`text` inside a table; without `quotes`, quotation marks and backticks stay as they are."""
    escaped = html.escape(" ".join(text.split()), quote=quotes).replace("|", "&#124;")
    return escaped.replace("`", "&#x60;") if quotes else escaped


def linked(hint: str, pages: Mapping[str, str]) -> str:
    """A type hint inside a table; `pages`: the addresses of the classes that have one."""

    def link(word: re.Match[str]) -> str:
        name = word[0]
        return f"[{name}]({pages[name]})" if name in pages else name

    return re.sub(r"\b[A-Za-z]\w*\b", link, re.sub(r"([\[\]|])", r"\\\1", hint))


def with_sections(text: str, sections: Mapping[str, str]) -> str:
    """`text` with new contents for its sections `## HEADING`; it must have each of them once."""
    parts = re.split(r"^(?=## )", text, flags=re.M)
    titles = [part.partition("\n")[0] for part in parts]
    for heading, content in sections.items():
        if (found := titles.count(f"## {heading}")) != 1:
            raise ValueError(f"expected one section '## {heading}', found {found}")
        parts[titles.index(f"## {heading}")] = f"## {heading}\n\n{content.strip()}\n\n"
    return "".join(parts).rstrip() + "\n"
