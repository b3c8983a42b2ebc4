"""The metrics, read by a small parser of the text format."""

from __future__ import annotations

import re
from typing import Any

import pytest

from myscheduler.dashboard import metrics
from myscheduler.dashboard.model import Model

SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>[-+0-9.e]+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> tuple[Series, dict[str, str]]:
    """Series by name and labels, and the type of each family; strict about what Prometheus is strict about."""
    series: Series = {}
    types: dict[str, str] = {}
    helped: list[str] = []
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped.append(line.split(" ")[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert helped[-1] == name
            assert name not in types, "a family must stand in one piece"
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            labels = match["labels"] or ""
            assert LABEL.sub("", labels) == "", line
            pairs = [
                (key, re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value))
                for key, value in LABEL.findall(labels)
            ]
            assert match["name"] == list(types)[-1], "samples follow the type of their family"
            assert types[match["name"]] != "counter" or match["name"].endswith("_total")
            found = (match["name"], frozenset(pairs))
            assert found not in series, f"twice: {found}"
            series[found] = float(match["value"])
    return series, types


def value(series: Series, name: str, **labels: str) -> float:
    return series[f"myscheduler_{name}", frozenset(labels.items())]


def model(**changes: Any) -> Model:
    found = Model("c")
    found.set_connection("connected")
    row = {
        "incarnation": "a", "name": "w0", "nthreads": 4, "memory_limit": 1000, "status": "running", "tasks": 5, "stored": 3,
        "nbytes": 60, "last_seen_s": 0.25,
        "metrics": {"cpu": 250.0, "memory": 700, "managed": 60, "executing": 4, "time": 9.0, "bytes_in": 11, "bytes_out": 12},
    }  # fmt: skip
    inc = {
        "name": "inc",
        "memory": 3,
        "released": 1,
        "erred": 2,
        "assigned": 4,
        "queued": 5,
        "waiting": 6,
        "done": 4,
        "duration": 0.5,
    }
    found.set_overview(
        10.0, {"workers": [row], "clients": 2, "stale": {"answers": 7, "frames": 0}, "progress": [inc], **changes}
    )
    found.answer_s = 0.0025
    return found


def test_an_alarm_can_be_raised_when_nothing_goes_on() -> None:
    series, _ = parse(metrics.render(model(stalled={"cause": "no-workers", "text": "why", "seconds": 12.0})))
    assert value(series, "stalled") == 1


def test_the_numbers_are_those_of_the_cluster() -> None:
    series, types = parse(metrics.render(model()))
    assert value(series, "scheduler_up") == 1
    assert value(series, "scheduler_answer_seconds") == 0.0025
    assert value(series, "stale_messages_total", kind="answers") == 7
    assert value(series, "stale_messages_total", kind="frames") == 0
    assert value(series, "stalled") == 0
    assert value(series, "clients") == 2
    assert value(series, "workers", status="running") == 1
    assert value(series, "threads") == 4
    states = {
        state: value(series, "tasks", kind="inc", state=state) for state in ("memory", "released", "erred", "waiting")
    }
    assert states == {"memory": 3, "released": 1, "erred": 2, "waiting": 6}
    assert value(series, "runs_total", kind="inc") == 4
    assert value(series, "task_duration_seconds", kind="inc") == 0.5
    worker = {"worker": "w0", "id": "a"}
    expected = {
        "threads": 4, "cpu_cores": 2.5, "memory_bytes": 700, "memory_limit_bytes": 1000, "results_bytes": 60, "results": 3,
        "running_tasks": 4, "assigned_tasks": 5, "received_bytes_total": 11, "sent_bytes_total": 12, "last_seen_seconds": 0.25,
    }  # fmt: skip
    assert {name: value(series, f"worker_{name}", **worker) for name in expected} == expected
    assert types["myscheduler_runs_total"] == "counter"


@pytest.mark.parametrize("connection", ["connecting", "lost"])
def test_old_numbers_are_not_told(connection: Any) -> None:
    found = model()
    found.set_connection(connection)
    series, _ = parse(metrics.render(found))
    assert series == {("myscheduler_scheduler_up", frozenset()): 0.0}


def test_an_empty_cluster_has_zeros() -> None:
    series, _ = parse(metrics.render(model(workers=(), progress=())))
    assert (value(series, "workers", status="running"), value(series, "threads")) == (0, 0)


def test_names_are_escaped() -> None:
    name = 'a"b\\c\nd{e="f"}'
    row = {"incarnation": "a", "name": name, "status": name}
    series, _ = parse(metrics.render(model(workers=[row], progress=[{"name": name, "done": 1}])))
    assert value(series, "runs_total", kind=name) == 1
    assert value(series, "worker_threads", worker=name, id="a") == 0


def test_names_that_look_alike_become_one() -> None:
    progress = [{"name": "\ud800", "memory": 1}, {"name": "?", "memory": 2}, {"name": "x" * 300 + "1", "memory": 3},
                {"name": "x" * 300 + "2", "memory": 4}]  # fmt: skip
    series, _ = parse(metrics.render(model(progress=progress)))
    assert value(series, "tasks", kind="?", state="memory") == 3
    assert value(series, "tasks", kind="x" * 255 + "…", state="memory") == 7


def test_many_kinds_and_workers_stay_few_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "WORKERS_MAX", 10)
    progress = [{"name": f"k{i}", "memory": i, "done": i} for i in range(500)]
    workers = [{"incarnation": f"{i}", "name": f"w{i}", "status": "running"} for i in range(50)]
    series, _ = parse(metrics.render(model(progress=progress, workers=workers)))
    kinds = {labels for name, labels in series if name == "myscheduler_runs_total"}
    assert len(kinds) == metrics.KINDS_MAX
    assert value(series, "runs_total", kind="k499") == 499
    assert sum(series["myscheduler_runs_total", labels] for labels in kinds) == sum(range(500))
    assert value(series, "tasks", kind=metrics.OTHER, state="memory") == sum(range(500 - metrics.KINDS_MAX + 1))
    assert value(series, "workers", status="running") == 50
    assert len([1 for name, _ in series if name == "myscheduler_worker_threads"]) == 10
