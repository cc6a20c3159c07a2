"""Charts as SVG: self-contained, and readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from bench.report import LABELS, figure
from bench.runner import Result

__all__ = ["Point", "growth", "svg"]

Point = tuple[str, int, float, float]
"""Of a kind of payload so many nodes: the time for each in µs, and the bytes that are kept."""

LEFT, WIDTH, ROW, GAP = 150, 420, 18, 34
LIMIT = 5.0
"""Bars longer than this many times ours are cut."""

COLORS = {"ours": "#2f81f7", "fast": "#1f6feb", "interpreted": "#54aeff", "original": "#d1793a"}
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


PANEL, HIGH, APART = 300, 160, 90
LINES = ("#2f81f7", "#d1793a", "#8b949e")


def growth(points: Sequence[Point]) -> str:
    """Two panels, time and bytes for each node, by the number of nodes: tenfold at each mark."""
    names = list(dict.fromkeys(name for name, *_ in points))
    furthest = max(log10(nodes) for _, nodes, _, _ in points)
    parts = []
    times = [(name, nodes, spent) for name, nodes, spent, _ in points]
    sizes = [(name, nodes, size) for name, nodes, _, size in points]
    for left, title, found in (
        (40, "µs a node", times),
        (40 + PANEL + APART, "bytes a node", sizes),
    ):
        most = max(value for _, _, value in found)
        parts.append(f'<text class="title" x="{left}" y="14">{title}, up to {figure(most)}</text>')
        axes = f"M{left} 24 V{24 + HIGH} H{left + PANEL}"
        parts.append(f'<path d="{axes}" fill="none" stroke="#8b949e"/>')
        for power in range(1, int(furthest + 0.01) + 1):
            x = left + power / furthest * PANEL
            parts.append(f'<text x="{x:.0f}" y="{HIGH + 42}" text-anchor="middle">1e{power}</text>')
        for color, name in zip(LINES, names, strict=False):
            places = " ".join(
                f"{left + log10(nodes) / furthest * PANEL:.1f},{24 + (1 - value / most) * HIGH:.1f}"
                for of, nodes, value in found
                if of == name
            )
            parts.append(f'<polyline points="{places}" fill="none" stroke="{color}"/>')
    for index, (color, name) in enumerate(zip(LINES, names, strict=False)):
        x, y = 40 + index * 120, HIGH + 66
        parts.append(f'<text x="{x}" y="{y}" style="fill: {color}">{escape(name)}</text>')
    width, height = 2 * PANEL + APART + 80, HIGH + 76
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-label="Time and memory by the number of nodes">'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )
