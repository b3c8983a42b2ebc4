"""Measurements as an SVG: one panel of horizontal bars per metric, readable in light and dark surroundings."""

from __future__ import annotations

from html import escape
from statistics import median
from typing import TYPE_CHECKING

from .report import OURS, format_number, machine, metrics

if TYPE_CHECKING:
    from .compare import Measurements

WIDTH, LABEL, NUMBER = 720, 110, 90
BAR, GAP, TITLE, MARGIN = 16, 5, 26, 20
COLORS = ("#2563eb", "#f59e0b", "#10b981", "#94a3b8")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2937}.title{font-weight:600}.note{fill:#6b7280;font-size:12px}"
    ".ours{font-weight:600}.page{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.note{fill:#9ca3af}.page{fill:#111827}}"
)


def draw(found: Measurements) -> str:
    """The whole picture."""
    parts: list[str] = []
    y = MARGIN
    for name, metric in metrics().items():
        medians = {system: median(values) for system, values in found.values.get(name, {}).items()}
        if medians:
            better = "more is better" if metric.more_is_better else "less is better"
            parts.append(_text(MARGIN, y + 13, metric.title, "title"))
            parts.append(_text(WIDTH - MARGIN, y + 13, f"{metric.unit}, {better}", "note", anchor="end"))
            y += TITLE
            y = _bars(parts, y, found.systems, medians) + MARGIN
    parts.append(_text(MARGIN, y + 5, f"medians of {found.repeats}, {machine()}", "note"))
    height = y + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="Benchmark of task schedulers">\n<style>{STYLE}</style>\n'
        f'<rect class="page" width="100%" height="100%" rx="8"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _bars(parts: list[str], y: int, systems: list[str], medians: dict[str, float]) -> int:
    """Draw one bar per system from ``y`` on; returns where the next thing may start."""
    room = WIDTH - 2 * MARGIN - LABEL - NUMBER
    longest = max(medians.values())
    for number, system in enumerate(systems):
        if system not in medians:
            continue
        length = max(1.0, room * medians[system] / longest)
        kind = "ours" if system == OURS else ""
        parts.append(_text(MARGIN + LABEL - 10, y + 13, system, kind, anchor="end"))
        color = COLORS[number % len(COLORS)]
        parts.append(f'<rect x="{MARGIN + LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{color}"/>')
        parts.append(_text(MARGIN + LABEL + length + 6, y + 13, format_number(medians[system]), kind))
        y += BAR + GAP
    return y


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
