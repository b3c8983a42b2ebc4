"""Two figures of several competitors as an SVG: for each subject one bar per competitor in either column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .chart import MARGIN, TITLE, WIDTH, picture, text
from .report import format_number

LABEL, NUMBER, BAR, STEP, GAP = 106, 56, 10, 15, 16
COLORS = ("#2563eb", "#94a3b8", "#10b981", "#f59e0b", "#a78bfa")

Values = Mapping[str, Mapping[str, tuple[float, float]]]


def draw(label: str, columns: tuple[str, str], names: Sequence[str], found: Values) -> str:
    """The whole picture. ``found``: by subject and competitor, both figures; ``names`` are the competitors, ours first."""
    room = (WIDTH - 2 * MARGIN - LABEL) / 2
    parts: list[str] = []
    y = MARGIN
    for subject, values in found.items():
        parts.append(text(MARGIN, y + 10, subject, "title"))
        for column, words in enumerate(columns):
            end = MARGIN + LABEL + (column + 1) * room
            parts.append(text(end, y + 10, f"{words}, less is better", "note", anchor="end"))
        y += TITLE - 8
        most = [max(both[column] for both in values.values()) for column in range(2)]
        for color, name in zip(COLORS, names, strict=False):
            kind = "ours" if name == names[0] else "note"
            parts.append(text(MARGIN + LABEL - 8, y + 9, name, kind, anchor="end"))
            for column, value in enumerate(values[name]):
                left = MARGIN + LABEL + column * room
                length = max(1.0, (room - NUMBER) * value / most[column])
                bar = f'x="{left:.1f}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{color}"'
                parts.append(f"<rect {bar}/>")
                parts.append(text(left + length + 5, y + 9, format_number(value), kind))
            y += STEP
        y += GAP
    return picture(label, parts, y)
