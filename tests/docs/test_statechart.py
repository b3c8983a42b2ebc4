"""The drawings of state diagrams hold what the text says."""

from __future__ import annotations

import importlib
import re
from xml.etree import ElementTree as ET

from tests.docs.pages import blocks

statechart = importlib.import_module("docs.statechart")


def test_every_state_and_every_move_is_drawn() -> None:
    diagrams = [block.text for block in blocks("docs/design.md") if block.language == "mermaid"]
    assert len(diagrams) == 3
    for text in diagrams:
        states, moves, begins, ends = statechart.parse(text)
        drawing = ET.fromstring(statechart.draw(text))  # well-formed, too
        assert [node.text for node in drawing.iter("text")] == states
        assert [node.text for node in drawing.iter("title")] == [f"{start} to {end}" for start, end in moves]
        assert len(list(drawing.iter("circle"))) == len(begins) == 1
        assert len(ends) >= 1


def test_nothing_is_drawn_outside() -> None:
    drawing = statechart.draw("\n".join(f"state{n} --> state{(n * 3 + 1) % 9}" for n in range(9)))
    xs = [float(x) for x in re.findall(r' x="([-\d.]+)"', drawing)]
    ys = [float(y) for y in re.findall(r' y="([-\d.]+)"', drawing)]
    assert min(xs) >= 0
    assert max(xs) <= statechart.WIDTH
    assert min(ys) >= 0
    assert max(ys) <= statechart.HEIGHT
