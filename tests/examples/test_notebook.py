"""The notebook runs from its first cell to its last, and what it tells is true."""

from __future__ import annotations

import json
import math
from typing import Any

import nbclient
import nbformat
import pytest

from tests.support.repository import ROOT

#: Seconds for each way to run the graph as readers do: eight tasks of one second.
TIMES = {
    "synchronous": 8,
    "threads": 4,
    "processes": 4,
    "2 workers": 4,
    "4 workers": 2,
    "globally: 8 threads": 1,
    "in a block: 4 threads": 2,
    "per call: 4 workers": 2,
}
#: Here the tasks take only this long, and what is added to them may be as much as it might with whole seconds.
SECONDS = 0.5
ASK = "import json; print(json.dumps({'times': times, 'results': results, 'threads': threads}))"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    # Of the packages that run notebooks.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook, executed with shorter tasks, and with one more cell that says what it found."""
    path = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(ROOT / "examples" / "schedulers.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and "time.sleep(1)" in cell.source]
    cell.source = cell.source.replace("time.sleep(1)", f"time.sleep({SECONDS})")
    notebook.cells.append(nbformat.v4.new_code_cell(ASK))
    client = nbclient.NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": path}}
    )
    return client.execute()


@pytest.fixture(scope="module")
def found(notebook: Any) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(notebook.cells[-1].outputs[0].text)
    return found


def outputs(notebook: Any, source: str) -> dict[str, str]:
    """What the cell that begins with ``source`` shows, by type."""
    (cell,) = [cell for cell in notebook.cells if cell.source.startswith(source)]
    shown: dict[str, str] = {}
    for output in cell.outputs:
        shown |= {"text/plain": output.text} if output.output_type == "stream" else output.data
    return shown


def check(seconds: float, steps: int) -> None:
    """Is that the time of as many tasks, one after the other?"""
    assert seconds == pytest.approx(steps * SECONDS, abs=max(0.2, 0.1 * steps))


def test_all_schedulers_agree(found: dict[str, dict[str, float]]) -> None:
    assert set(found["results"]) == {*TIMES, "Client()", "Client(processes=False)"}
    assert set(found["results"].values()) == {36}


@pytest.mark.parametrize("name", TIMES)
def test_times(found: dict[str, dict[str, float]], name: str) -> None:
    check(found["times"][name], TIMES[name])


@pytest.mark.parametrize("name", ["Client()", "Client(processes=False)"])
def test_times_on_all_cores(found: dict[str, dict[str, float]], name: str) -> None:
    check(found["times"][name], math.ceil(8 / found["threads"][name]))


@pytest.mark.parametrize(
    ("source", "title"),
    [("import time", "Delayed"), ("client = Client()", "Client"), ("cluster = Local", "LocalCluster")],
)
def test_objects_are_shown_as_html(notebook: Any, source: str, title: str) -> None:
    assert f"<b>{title}</b>" in outputs(notebook, source)["text/html"]


def test_progress_is_shown_as_a_bar(notebook: Any) -> None:
    shown = outputs(notebook, "def watched")["text/html"]
    assert "8/8" in shown
    assert "width:100.0%" in shown


def test_it_is_stored_without_outputs() -> None:
    """They would differ with every run, and hold addresses and tokens."""
    notebook = nbformat.read(ROOT / "examples" / "schedulers.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
