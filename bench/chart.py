"""Charts as SVG: self-contained, and readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import log10

from bench.report import LABELS, figure
from bench.runner import Result

__all__ = ["Measured", "Point", "growth", "operations", "svg"]

Point = tuple[str, int, float, float]
"""A kind of payload, its number of nodes, the time per node in µs, and the bytes kept."""

Measured = tuple[str, int, float]
"""A name, a size, and the measured value."""

LEFT, WIDTH, ROW, GAP = 150, 420, 18, 34
LIMIT = 5.0
"""Bars longer than this multiple of ours are cut."""

COLORS = {"ours": "#2f81f7", "fast": "#1f6feb", "interpreted": "#54aeff", "original": "#d1793a"}
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; fill: #1f2328 }
@media (prefers-color-scheme: dark) { text { fill: #9198a1 } .title { fill: #f0f6fc } }
"""


def svg(results: Sequence[Result]) -> str:
    """Return a chart with a group of bars for each measure: the times relative to ours."""
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
LINES = (
    *("#2f81f7", "#d1793a", "#8b949e", "#3fb950", "#a371f7"),
    *("#db61a2", "#bf8700", "#39c5cf", "#f85149", "#57606a"),
)


def growth(points: Sequence[Point]) -> str:
    """Return a chart of time and of bytes per node, by the number of nodes in powers of ten."""
    times = [(name, nodes, spent) for name, nodes, spent, _ in points]
    sizes = [(name, nodes, size) for name, nodes, _, size in points]
    panels = {"µs a node": times, "bytes a node": sizes}
    return _by_size(panels, "Time and memory by the number of nodes")


def operations(points: Sequence[Measured]) -> str:
    """Return a chart of the time of the server's operations by the number of logs in it."""
    return _by_size({"ms an operation": points}, "Time of operations by the number of logs")


def _by_size(panels: Mapping[str, Sequence[Measured]], label: str) -> str:
    """Return a chart with a line for each name, by a size on a scale of powers of ten."""
    everything = [point for points in panels.values() for point in points]
    names = list(dict.fromkeys(name for name, *_ in everything))
    furthest = max(log10(size) for _, size, _ in everything)
    parts = []
    for number, (title, points) in enumerate(panels.items()):
        left = 40 + number * (PANEL + APART)
        most = max(value for _, _, value in points)
        parts.append(f'<text class="title" x="{left}" y="14">{title}, up to {figure(most)}</text>')
        axes = f"M{left} 24 V{24 + HIGH} H{left + PANEL}"
        parts.append(f'<path d="{axes}" fill="none" stroke="#8b949e"/>')
        for power in range(1, int(furthest + 0.01) + 1):
            x = left + power / furthest * PANEL
            parts.append(f'<text x="{x:.0f}" y="{HIGH + 42}" text-anchor="middle">1e{power}</text>')
        for color, name in zip(LINES, names, strict=False):
            places = " ".join(
                f"{left + log10(size) / furthest * PANEL:.1f},{24 + (1 - value / most) * HIGH:.1f}"
                for of, size, value in points
                if of == name
            )
            parts.append(f'<polyline points="{places}" fill="none" stroke="{color}"/>')
    for index, (color, name) in enumerate(zip(LINES, names, strict=False)):
        x, y = 40 + index % 5 * 120, HIGH + 66 + index // 5 * 16
        parts.append(f'<text x="{x}" y="{y}" style="fill: {color}">{escape(name)}</text>')
    width, height = 2 * PANEL + APART + 80, HIGH + 76 + (len(names) - 1) // 5 * 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-label="{label}">'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )
