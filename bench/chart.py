"""A bar chart as SVG: self-contained, and readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.report import LABELS, figure
from bench.runner import Result

__all__ = ["svg"]

LEFT, WIDTH, ROW, GAP = 150, 420, 18, 34
LIMIT = 5.0
"""Bars longer than this many times ours are cut."""

COLORS = {"ours": "#2f81f7", "fast": "#1f6feb", "original": "#d1793a"}
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; fill: #1f2328 }
@media (prefers-color-scheme: dark) { text { fill: #9198a1 } .title { fill: #f0f6fc } }
"""


def svg(results: Sequence[Result]) -> str:
    """For each measure a group of bars: what each contestant takes, in times of ours."""
    parts, y = [], 24
    python = results[0].python
    for result in results:
        ours = result.values["ours"]
        parts.append(f'<text class="title" x="0" y="{y}">{escape(result.title)}</text>')
        for name, value in result.values.items():
            y += ROW
            times = value / ours
            width = max(2.0, min(times, LIMIT) / LIMIT * WIDTH)
            color = COLORS.get(name, "#8b949e")
            label = f"{figure(value)} {result.unit}" + (
                "" if name == "ours" else f", {figure(times)} x"
            )
            cut = "… " if times > LIMIT else ""
            parts.append(
                f'<text x="{LEFT - 8}" y="{y + 9}" text-anchor="end">{LABELS[name]}</text>'
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{ROW - 6}" rx="2"'
                f' fill="{color}"/>'
                f'<text x="{LEFT + width + 6:.1f}" y="{y + 9}">{cut}{label}</text>'
            )
        y += GAP
    total = LEFT + WIDTH + 160
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {y}" width="{total}"'
        f' height="{y}" role="img" aria-label="Time and memory on Python {python}">'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )
