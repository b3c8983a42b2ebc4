from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.refs import TaskRef
from myscheduler.graph.delayed import delayed
from myscheduler.graph.task import Graph, Task, identity
from myscheduler.graph.visualize import to_dot, visualize


class ExecutableNotFound(Exception):  # noqa: N818 - graphviz calls it so
    pass


def fake_graphviz(pipe: Any) -> types.ModuleType:
    module = types.ModuleType("graphviz")
    module.ExecutableNotFound = ExecutableNotFound  # type: ignore[attr-defined]
    module.Source = lambda text: types.SimpleNamespace(pipe=lambda format: pipe(text, format))  # type: ignore[attr-defined]
    return module


def test_to_dot() -> None:
    graph: Graph = {("x", 0): Task(identity, (1,)), "inc-1": Task(abs, (TaskRef(("x", 0)), TaskRef("elsewhere-7")))}
    assert to_dot(graph).splitlines() == [
        "digraph {",
        "  rankdir=BT;",
        """  n0 [label="x", tooltip="('x', 0)", shape=box];""",
        """  n1 [label="inc\\nabs", tooltip="'inc-1'", shape=circle];""",
        "  n0 -> n1;",
        """  n2 [label="elsewhere", tooltip="'elsewhere-7'", shape=box, style=dashed];""",
        "  n2 -> n1;",
        "}",
    ]


def test_labels_are_escaped() -> None:
    text = to_dot({'"]; evil \\N \x00\n': Task(identity, (1,))})
    assert r'label="\"]; evil \\N ?\n"' in text
    assert len(to_dot({"x" * 1000: Task(identity, (1,))}).splitlines()[2].split(", tooltip")[0]) < 100


def test_text_is_written_without_graphviz(tmp_path: Path) -> None:
    x = delayed(abs)(-1)
    name = visualize([x], filename=str(tmp_path / "graph.dot"))
    assert Path(name).read_text() == to_dot(x.graph)
    assert Path(x.visualize(str(tmp_path / "other"), format="gv")).name == "other.gv"


def test_the_graph_as_it_would_run(tmp_path: Path) -> None:
    x = delayed(abs)(delayed(abs)(-1))
    texts = [
        Path(x.visualize(str(tmp_path / "graph.dot"), optimize_graph=optimize)).read_text()
        for optimize in (False, True)
    ]
    assert [text.count("label") for text in texts] == [2, 1]


def test_graphviz_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", fake_graphviz(lambda text, format: f"{format}: {text}".encode()))
    x = delayed(5)
    assert Path(visualize(x, filename=str(tmp_path / "graph.png"))).read_text().startswith("png: digraph {")
    assert Path(visualize(x, filename=str(tmp_path / "graph"))).name == "graph.svg"


def test_without_graphviz_it_says_how_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(text: str, format: str) -> bytes:
        raise ExecutableNotFound

    for module in (None, fake_graphviz(missing)):
        monkeypatch.setitem(sys.modules, "graphviz", module)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="pip install graphviz.*apt install graphviz.*graph.dot"):
            visualize(delayed(5), filename=str(tmp_path / "graph.svg"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_draw() -> None:
    with pytest.raises(UsageError, match="nothing to draw: no Delayed among the arguments"):
        visualize(1, [2])
