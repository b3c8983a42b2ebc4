"""The harness of ``make faults``, and its cheapest rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults import groups, lane
from tests.faults.__main__ import Recorder, choose, lanes_of, run_lane
from tests.faults.publish import BEGIN, END, PAGE, Summary, read_results, table, with_table
from tests.faults.rows import ROWS, Row, Trial, UnavailableError, until
from tests.faults.work import Graph, leave_trace, node, runs_in, value

assert groups


def a_row(trial: Any, place: Any = None, repeats: int = 3) -> Row:
    @contextmanager
    def nowhere() -> Iterator[str]:
        yield "here"

    return Row("X1", "a fault", "a promise", "", 5, repeats, 10.0, 2, False, place or nowhere, trial)


def said(row: Row, capsys: pytest.CaptureFixture[str], end: int = 3) -> list[dict[str, Any]]:
    lane.run(row, 0, end, 60.0)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# ---- one repeat -----------------------------------------------------------------------------------------------------


def test_a_time_that_is_too_long_breaks_the_promise() -> None:
    trial = Trial("X1", 0)
    trial.within("noticed after", 0.5, 1.0)
    trial.at_least("speed", 40, 30, "%")
    assert trial.broken == []
    trial.within("moved after", 2.5, 1.0)
    trial.at_least("speed", 20, 30, "%")
    trial.expect(1 > 2, "numbers are odd")
    assert trial.broken == [
        "moved after: 2.50 s instead of 1 s at most",
        "speed: 20 % instead of at least 30",
        "numbers are odd",
    ]
    assert trial.figures["noticed after"] == (0.5, "s", "most")


def test_a_repeat_chooses_the_same_again() -> None:
    assert Trial("X1", 3).random.random() == Trial("X1", 3).random.random() != Trial("X1", 4).random.random()


def test_waiting_says_for_what() -> None:
    with pytest.raises(TimeoutError, match=r"the moon did not come true within 0\.01 s"):
        until(lambda: False, 0.01, what="the moon")


# ---- a lane ---------------------------------------------------------------------------------------------------------


def test_a_lane_reports_every_repeat(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(a_row(lambda place, trial: trial.figure("at", len(place))), capsys)
    assert [line["number"] for line in lines] == [0, 1, 2]
    assert lines[0]["figures"] == {"at": [4, "s", "most"]}


def test_a_lane_ends_after_the_first_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(place: str, trial: Trial) -> None:
        assert trial.number == 0, "not now"

    lines = said(a_row(fail), capsys)
    assert [bool(line["broken"]) for line in lines] == [False, True]
    assert lines[1]["broken"][0].startswith("AssertionError: not now")


def test_what_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    @contextmanager
    def missing() -> Iterator[None]:
        raise UnavailableError("no network namespaces")
        yield

    row = a_row(lambda place, trial: None, missing)
    lines = said(row, capsys)
    assert lines == [{"unavailable": "no network namespaces"}]
    recorder = Recorder()
    recorder.take(row, lines[0])
    assert recorder.summaries["X1"].unavailable == "no network namespaces"
    assert "SKIPPED  X1: no network namespaces" in capsys.readouterr().out


def test_repeats_are_shared_among_lanes() -> None:
    row = a_row(None, repeats=5)
    assert lanes_of(row, None) == [(row, 0, 2), (row, 2, 5)]
    assert lanes_of(row, 1) == [(row, 0, 1)]


# ---- the table ------------------------------------------------------------------------------------------------------


def test_summaries_keep_the_worst() -> None:
    summary = Summary()
    for seconds, percent, broken in ((1.0, 50.0, []), (3.0, 40.0, ["late\nTraceback"]), (2.0, 60.0, [])):
        figures = {"noticed after": (seconds, "s", "most"), "speed": (percent, "%", "least")}
        summary.add({"figures": figures, "lost": 1, "duplicated": 0, "broken": broken})
    assert summary.worst == "noticed after 3 s, speed 40 %"
    assert (summary.repeats, summary.failed, summary.lost, summary.broken) == (3, 1, 3, ["late"])
    assert Summary.from_dict(json.loads(json.dumps(summary.to_dict("2 cores")))) == summary


def test_the_table_says_what_was_kept_and_what_was_not() -> None:
    good = Summary(repeats=500, figures={"noticed after": (0.0123, "s", "most")}).to_dict("2 cores")
    bad = Summary(repeats=3, failed=1, broken=["late"], lost=2).to_dict("2 cores")
    none = Summary(unavailable="no tools").to_dict("2 cores")
    lines = table({"B1": good, "B2": bad, "B3": none}).splitlines()
    assert lines[2].startswith("| B1 | `kill -9` of two workers under load, one soon after the other |")
    assert "| kept, 500 repeats; noticed after 0.01 s; 0 lost, 0 twice |" in lines[2]
    assert "| **broken 1 times** (late), 3 repeats of the 50 wanted; 2 lost, 0 twice | - |" in lines[3]
    assert "| **not measured**: no tools |" in lines[4]
    assert lines[-1] == "Measured 2 cores."
    assert with_table(f"a{BEGIN}old{END}b", {}).endswith(f"{END}b")


def test_the_documentation_says_what_was_measured() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, read_results()) == page, "run: python -m tests.faults.publish"


def test_rows_are_chosen_by_id_and_by_group() -> None:
    assert [row.id for row in choose("B1,E2")] == ["B1", "E2"]
    assert len(choose("all")) == len(ROWS) == len(choose("B C E"))
    with pytest.raises(SystemExit, match="there is no row 'Z9'; there are B"):
        choose("Z9")


# ---- work whose results are known ----------------------------------------------------------------------------------


def test_nodes_compute_what_one_process_finds(tmp_path: Path) -> None:
    graph = Graph.random(Random(1), 30, 0.0, padding=3)
    found: list[tuple[int, bytes]] = []
    for number, inputs in enumerate(graph.inputs):
        found.append(node(str(tmp_path / "trace"), number, 0.0, 3, *(found[index] for index in inputs)))
    assert [item for item, _ in found] == graph.evaluate()
    assert [run.number for run in runs_in(tmp_path / "trace")] == list(range(30))
    assert value(1, [2, 3]) != value(1, [3, 2])


def test_the_trace_names_the_process(tmp_path: Path) -> None:
    assert runs_in(tmp_path / "trace") == []
    leave_trace(str(tmp_path / "trace"), 7)
    assert [(run.number, run.pid) for run in runs_in(tmp_path / "trace")] == [(7, os.getpid())]


# ---- the cheapest rows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["B1", "B9", "E2"])
def test_promises_are_kept(id: str) -> None:
    recorder = Recorder()
    run_lane(ROWS[id], 0, 2, recorder)
    summary = recorder.summaries[id]
    assert (summary.repeats, summary.broken) == (2, [])
