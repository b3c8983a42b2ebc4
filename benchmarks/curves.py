"""Measurements over sizes as an SVG: one panel per question, both readable in light and dark surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10

from .chart import MARGIN, TITLE, WIDTH, picture, text
from .report import format_number

HEIGHT, LEFT, RIGHT, FOOT = 150, 60, 150, 40
COLORS = ("#2563eb", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#94a3b8")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One question: its title, the unit of the answers, what the sizes are of, and the names of its curves."""

    title: str
    unit: str
    sizes: str
    names: tuple[str, ...]


def draw(label: str, panels: Sequence[Panel], found: Mapping[str, Points]) -> str:
    """The whole picture."""
    parts: list[str] = []
    y = float(MARGIN)
    for panel in panels:
        curves = {name: found[name] for name in panel.names if found.get(name)}
        if curves:
            parts += [text(MARGIN, round(y + 13), panel.title, "title")]
            parts += [text(WIDTH - MARGIN, round(y + 13), f"{panel.unit}, less is better", "note", anchor="end")]
            _panel(parts, y + TITLE, panel, curves)
            y += TITLE + HEIGHT + FOOT + MARGIN
    return picture(label, parts, y)


def _panel(parts: list[str], top: float, panel: Panel, curves: Mapping[str, Points]) -> None:
    xs = sorted({x for points in curves.values() for x, _ in points})
    most = max(y for points in curves.values() for _, y in points)
    span = max(log10(xs[-1] / xs[0]), 1e-9)
    bottom = top + HEIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        along = log10(x / xs[0]) / span
        return MARGIN + LEFT + along * (WIDTH - 2 * MARGIN - LEFT - RIGHT), bottom - y / most * HEIGHT

    for level in (0.0, 0.5, 1.0):
        left, y = place(xs[0], most * level)
        right, _ = place(xs[-1], 0)
        parts.append(
            f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="#9ca3af" stroke-width="0.5"/>'
        )
        parts.append(text(left - 8, round(y + 4), format_number(most * level) if level else "0", "note", anchor="end"))
    parts += [text(place(x, 0)[0], round(bottom + 16), f"{x:,.0f}", "note", anchor="middle") for x in xs]
    parts.append(text(place(xs[-1], 0)[0] + RIGHT, round(bottom + 16), panel.sizes, "note", anchor="end"))
    lowest = top - 10
    for color, (name, points) in zip(COLORS, sorted(curves.items(), key=lambda curve: -curve[1][-1][1]), strict=False):
        places = [place(x, y) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        lowest = max(places[-1][1] + 4, lowest + 15)  # names do not cover each other
        parts.append(text(places[-1][0] + 8, round(lowest), f"{name} {format_number(points[-1][1])}"))
