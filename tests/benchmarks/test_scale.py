"""The measurements with many workers: that they run, and what they write."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.curves import Panel, draw
from benchmarks.scale import MEASURES, collect, main, shuffle, table, tree


@pytest.mark.parametrize("name", list(MEASURES))
def test_every_measurement_runs(name: str) -> None:
    function, sizes, _, _ = MEASURES[name]
    assert function(sizes[0], 0.001 if sizes[0] < 100 else 0.02) >= 0


def test_graphs_name_inputs_before_their_users() -> None:
    for graph in (list(tree(8)), list(shuffle(3))):
        seen: dict[str, None] = {}
        for key, deps in graph:
            assert all(dep in seen for dep in deps)
            seen[key] = None
        assert len(seen) == 15


def test_measurements_run_in_processes_of_their_own() -> None:
    found = collect(["joining"], 1, 0.01, 100)
    assert list(found["values"]["joining"]) == ["10", "100"]
    assert "| joining | us per worker |" in table(found)


def test_the_program_writes_figures_and_a_picture(tmp_path: Path) -> None:
    main(["--only", "chain", "--repeats", "1", "--scale", "0.01", "--most", "10", "--output", str(tmp_path)])
    assert list(json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))["values"]) == ["chain"]
    assert ET.parse(tmp_path / "scale.svg").getroot().tag.endswith("svg")


def test_curves_are_drawn_over_sizes() -> None:
    panel = Panel("Cost & more", "us", "workers", ("a", "missing"))
    root = ET.fromstring(draw("x", (panel,), {"a": [(10.0, 2.0), (1000.0, 4.0)]}))
    [line] = [element for element in root.iter() if element.tag.endswith("polyline")]
    assert len(str(line.get("points")).split()) == 2
    assert "Cost & more" in [element.text for element in root.iter()]
