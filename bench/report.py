"""The results of the race, as a table for the terminal or for Markdown.

A ratio is ours/rival: below 1, ours costs less. Ratios far below 1 are written 1/n.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.runner import Result

__all__ = ["LABELS", "figure", "markdown", "ratio", "table"]

LABELS = {
    "ours": "ours",
    "fast": "ours, extra fast",
    "interpreted": "ours, interpreted",
    "pydantic": "pydantic",
    "typeddict": "pydantic, TypedDict",
    "msgspec": "msgspec",
    "original": "0.5.13",
    "plain": "bare Python",
    "httpx": "httpx",
}
RIVALS = [name for name in LABELS if not LABELS[name].startswith("ours")]


def ratio(value: float) -> str:
    """Return a ratio in about three digits."""
    return f"1/{1 / value:.3g}" if value < 0.095 else f"{value:.2f}"


def figure(value: float) -> str:
    """Return a time or a size in about three digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    rivals = [name for name in RIVALS if any(name in result.values for result in results)]
    head = ["measure", "ours", *(LABELS[name] for name in rivals)]
    rows = []
    for result in results:
        for subject, ratios in result.ratios.items():
            cells = [
                result.title + LABELS[subject].removeprefix("ours"),
                f"{figure(result.values[subject])} {result.unit}",
            ]
            for name in rivals:
                if name not in ratios:
                    cells.append("")
                    continue
                low, middle, high = ratios[name]
                spread = f" ({ratio(low)} to {ratio(high)})" if low < high else ""
                cells.append(f"{figure(result.values[name])}: **{ratio(middle)}**{spread}")
            rows.append(cells)
    return head, rows


def markdown(results: Sequence[Result]) -> str:
    """Return the table of docs/performance.md: a rival's figure, and ours/rival with quartiles."""
    head, rows = _rows(results)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table(results: Sequence[Result]) -> str:
    """Return the same for a terminal: a block for each measure."""
    head, rows = _rows(results)
    lines = []
    for title, ours, *cells in rows:
        lines.append(f"{title}: {ours}")
        for name, cell in zip(head[2:], cells, strict=True):
            if cell:
                value, _, shown = cell.replace("**", "").partition(": ")
                lines.append(f"    {name:<22} {value:>10}   ours/it {shown}")
    return "\n".join(lines)
