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
COLORS = {"myscheduler": "#2563eb", "distributed": "#f59e0b", "ray": "#10b981", "futures": "#94a3b8"}
INK, FAINT = "#1f2937", "#6b7280"
#: What attributes cannot say. Whoever knows no CSS draws the light variant in a plain font.
STYLE = (
    "text{font-family:system-ui,sans-serif}"
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
            parts.append(text(MARGIN, y + 13, metric.title, "title"))
            parts.append(text(WIDTH - MARGIN, y + 13, f"{metric.unit}, {better}", "note", anchor="end"))
            y += TITLE
            y = _bars(parts, y, found.systems, medians) + MARGIN
    parts.append(text(MARGIN, y + 5, f"medians of {found.repeats}, {machine()}", "note"))
    return picture("Benchmark of task schedulers", parts, y + MARGIN)


def picture(label: str, parts: list[str], height: float) -> str:
    """What all pictures have around their parts."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" '
        f'role="img" aria-label="{escape(label)}">\n<style>{STYLE}</style>\n'
        f'<rect class="page" width="{WIDTH}" height="{height:.0f}" rx="8" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bars(parts: list[str], y: int, systems: list[str], medians: dict[str, float]) -> int:
    """Draw one bar per system from ``y`` on; returns where the next thing may start."""
    room = WIDTH - 2 * MARGIN - LABEL - NUMBER
    longest = max(medians.values())
    for system in systems:
        if system not in medians:
            continue
        length = max(1.0, room * medians[system] / longest)
        kind = "ours" if system == OURS else ""
        parts.append(text(MARGIN + LABEL - 10, y + 13, system, kind, anchor="end"))
        bar = f'x="{MARGIN + LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{COLORS[system]}"'
        parts.append(f"<rect {bar}/>")
        parts.append(text(MARGIN + LABEL + length + 6, y + 13, format_number(medians[system]), kind))
        y += BAR + GAP
    return y


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """``kind``: "title" and "ours" are bold, "note" is small and faint."""
    fill = FAINT if kind == "note" else INK
    weight = "normal" if kind in ("", "note") else "bold"
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}"'
    look = f'class="{kind}" fill="{fill}" font-size="{12 if kind == "note" else 13}" font-weight="{weight}"'
    return f"<text {place} {look}>{escape(words)}</text>"
