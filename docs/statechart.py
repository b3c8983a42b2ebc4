"""Draws Mermaid state diagrams as SVG, without Mermaid: states on an ellipse, in the order of the text, moves as arcs.

It knows what ``diagrams.py`` writes: lines ``a --> b`` and ``[*]`` for begin and end.
"""

from __future__ import annotations

import math
import re

WIDTH, HEIGHT = 680, 430
BOX_HEIGHT, LETTER_WIDTH = 30, 8.2
STYLE = (
    ".statechart text{font:14px sans-serif;fill:currentColor;text-anchor:middle;dominant-baseline:central}"
    ".statechart rect{fill:none;stroke:currentColor}"
    ".statechart path{fill:none;stroke:currentColor;stroke-opacity:.55;stroke-width:1.3}"
    ".statechart .head,.statechart .begin{fill:currentColor;stroke:none}"
    ".statechart g.move:hover path{stroke-opacity:1;stroke-width:3}"
)


def parse(source: str) -> tuple[list[str], list[tuple[str, str]], set[str], set[str]]:
    """States in order, moves, and those states that are beginnings and ends.

    >>> parse("[*] --> new; new --> done; done --> [*]")
    (['new', 'done'], [('new', 'done')], {'new'}, {'done'})
    """
    states: dict[str, None] = {}
    moves, begins, ends = [], set(), set()
    for start, end in re.findall(r"(\[\*\]|\w+) --> (\[\*\]|\w+)", source):
        states.update(dict.fromkeys(name for name in (start, end) if name != "[*]"))
        if start == "[*]":
            begins.add(end)
        elif end == "[*]":
            ends.add(start)
        else:
            moves.append((start, end))
    return list(states), moves, begins, ends


def draw(source: str) -> str:
    """The diagram as an ``<svg>`` element.

    >>> draw("a --> b").count("<rect")
    2
    """
    states, moves, begins, ends = parse(source)
    width = max([len(name) for name in states], default=1) * LETTER_WIDTH + 20
    radius_x, radius_y = (WIDTH - width) / 2 - 30, (HEIGHT - BOX_HEIGHT) / 2 - 26
    places = {}
    for number, name in enumerate(states):
        angle = 2 * math.pi * number / len(states) - math.pi / 2
        places[name] = (WIDTH / 2 + radius_x * math.cos(angle), HEIGHT / 2 + radius_y * math.sin(angle))
    parts = [_arc(start, end, places, width) for start, end in moves]
    for name, (x, y) in places.items():
        extra = ' stroke-width="3"' if name in ends else ""
        parts.append(
            f'<rect x="{x - width / 2:.1f}" y="{y - BOX_HEIGHT / 2:.1f}" width="{width:.1f}" height="{BOX_HEIGHT}" '
            f'rx="8"{extra}/><text x="{x:.1f}" y="{y:.1f}">{name}</text>'
        )
        if name in begins:
            parts.append(f'<circle class="begin" cx="{x:.1f}" cy="{y - BOX_HEIGHT / 2 - 12:.1f}" r="6"/>')
    label = ", ".join(f"{start} to {end}" for start, end in moves)
    return (
        f'<svg class="statechart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="States: {label}" '
        f'style="max-width:{WIDTH}px;width:100%"><style>{STYLE}</style>{"".join(parts)}</svg>'
    )


def _arc(start: str, end: str, places: dict[str, tuple[float, float]], width: float) -> str:
    """One move: a curve that bends to its own left, so that a move and its opposite do not lie on each other."""
    (x1, y1), (x2, y2) = places[start], places[end]
    bend = 0.12
    middle_x, middle_y = (x1 + x2) / 2 + (y2 - y1) * bend, (y1 + y2) / 2 - (x2 - x1) * bend
    x1, y1 = _border(x1, y1, middle_x, middle_y, width)
    x2, y2 = _border(x2, y2, middle_x, middle_y, width)
    angle = math.atan2(y2 - middle_y, x2 - middle_x)
    corners = [
        (x2, y2),
        *((x2 - 10 * math.cos(angle + turn), y2 - 10 * math.sin(angle + turn)) for turn in (0.4, -0.4)),
    ]
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return (
        f'<g class="move"><title>{start} to {end}</title>'
        f'<path d="M{x1:.1f} {y1:.1f}Q{middle_x:.1f} {middle_y:.1f} {x2:.1f} {y2:.1f}"/>'
        f'<polygon class="head" points="{head}"/></g>'
    )


def _border(x: float, y: float, towards_x: float, towards_y: float, width: float) -> tuple[float, float]:
    """Where the line from a box's center towards a point leaves the box."""
    dx, dy = towards_x - x, towards_y - y
    scale = min(width / 2 / abs(dx) if dx else math.inf, BOX_HEIGHT / 2 / abs(dy) if dy else math.inf, 1.0)
    return x + dx * scale, y + dy * scale
