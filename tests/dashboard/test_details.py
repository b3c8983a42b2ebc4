"""The scheduler's answers as plain values, whatever it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from myscheduler.dashboard import details
from myscheduler.dashboard.colours import Colours
from myscheduler.dashboard.model import Model

T = 1_700_000_000.0
ROW = {
    "key": "inc-1",
    "kind": "inc",
    "status": "memory",
    "nbytes": 28,
    "type": "int",
    "workers": [("a", "w0")],
    "workers_total": 1,
}


def test_a_task() -> None:
    answer = {
        **ROW, "why": "It is done.", "attempt": 3, "retries_left": 1, "deaths": 0, "data": False, "requirement": None,
        "duration": 0.5, "clients": 2, "inputs": ((("x", 0), "released"),), "inputs_total": 1, "dependents": (),
        "dependents_total": 0, "error": None,
    }  # fmt: skip
    assert details.task(answer) == {
        "id": "inc-1", "label": "inc-1", "kind": "inc", "status": "memory", "size_bytes": 28, "type": "int",
        "workers": [{"id": "a", "name": "w0"}], "workers_total": 1, "why": "It is done.", "attempt": 3, "retries_left": 1,
        "worker_deaths": 0, "scattered": False, "requirement": None, "kind_mean_s": 0.5, "clients": 2,
        "inputs": [{"id": '~["x",0]', "label": "('x', 0)", "status": "released"}], "inputs_total": 1, "dependents": [],
        "dependents_total": 0, "error": None,
    }  # fmt: skip


def test_a_failure_names_its_culprit() -> None:
    error = {"culprit": 7, "text": "ValueError: no", "traceback": "Traceback"}
    found = details.task({**ROW, "status": "erred", "error": error})["error"]
    assert found == {"culprit": {"id": "~7", "label": "7"}, "text": "ValueError: no", "traceback": "Traceback"}


def test_lists_have_colours_for_pages_only() -> None:
    answer = {"total": 9, "offset": 3, "tasks": [ROW]}
    colours = Colours()
    assert details.tasks(answer)["tasks"][0]["id"] == "inc-1"
    assert "colour" not in details.tasks(answer)["tasks"][0]
    assert details.tasks(answer, colours)["tasks"][0]["colour"] == colours.of("inc")


def test_a_worker_that_the_model_does_not_know_yet() -> None:
    answer = {
        "incarnation": "a", "name": "0", "nthreads": 2, "resources": {"GPU": 2.0}, "free_resources": {"GPU": 0.5},
        "versions": {"python": "3.11"}, "at_worker": [ROW], "at_worker_total": 1, "results_total": 5, "nbytes": 100,
    }  # fmt: skip
    found = details.worker(None, answer)
    assert (found["id"], found["label"], found["threads"]) == ("a", "worker 0", 2)
    assert found["resources"] == {"GPU": {"total": 2.0, "free": 0.5}}
    assert (found["at_worker"][0]["id"], found["results_total"], found["results_bytes"]) == ("inc-1", 5, 100)


def test_the_past_of_a_worker() -> None:
    model = Model()
    rows = [
        {"incarnation": "a", "name": "0", "nthreads": 2, "metrics": {"time": T, "bytes_in": 0, "memory": 9}},
        {"incarnation": "b", "name": "1", "nthreads": 1},
    ]
    model.set_overview(T, {"workers": rows})
    rows[0]["metrics"] = {"time": T + 2, "bytes_in": 100, "bytes_out": 0, "memory": 7}
    model.set_overview(T + 2, {"workers": rows})
    model.add_runs(
        [("inc-1", "a", 1, T, 0.5, True), ("inc-2", "b", 0, T, 0.5, True), (("x" * 200, 0), "a", 7, T + 1, 0.5, False)]
    )
    model.tick(T + 2)
    past = details.past(model, model.workers["a"])
    assert (past["memory"], past["received"]) == ([9, 7], [0, 50])
    stream = past["stream"]
    assert (stream["threads"], stream["end"]) == ([0, 1, 7], T + 1.5)
    first, second = stream["runs"]
    assert first == (1, T, T + 0.5, "inc-1", "inc-1", 1, 0, 0.5, model.colours.of("inc"))
    assert (second[0], second[3][-1], second[4], second[6]) == (2, "…", "", 1)


def test_the_past_is_bounded_and_leaves_the_stream_alone() -> None:
    model = Model()
    model.set_overview(T, {"workers": [{"incarnation": "a", "nthreads": 1}]})
    model.add_runs([(f"{'ab'[i % 2]}-{i}", "a", 0, T + i * 0.01, 0.009, True) for i in range(1500)])
    model.tick(T + 20)
    before = [(run.count, run.end) for run in model.stream.all()]
    runs = details.past(model, model.workers["a"])["stream"]["runs"]
    assert 0 < len(runs) <= details.LANE_RUNS
    assert sum(run[5] for run in runs) == 1500
    assert [(run.count, run.end) for run in model.stream.all()] == before


@pytest.mark.parametrize(
    "answer",
    [None, 7, (), {}, {"status": "memory"}, {"status": "lost", "key": ["x"]}, {"status": "erred", "key": {}, "error": {}},
     {"status": "memory", "workers": ((1,), 2, ("a", "b")), "inputs": ("x", (None, None)), "nbytes": -1, "why": "x" * 10**6},
     {"tasks": (1, {}, None), "total": "many"}, {"resources": 7, "versions": {1: 2}, "at_worker": 9}],
)  # fmt: skip
def test_nothing_that_a_scheduler_says_breaks_a_page(answer: Any) -> None:
    for found in (details.task(answer), details.tasks(answer, Colours()), details.worker(None, answer)):
        assert len(json.dumps(found)) < 50_000
