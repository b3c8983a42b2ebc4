"""The model behind the pages: numbers in, plain values out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from myscheduler.dashboard import model as module
from myscheduler.dashboard.model import Model, number, text

T = 1_700_000_000.0


def worker(incarnation: str = "a", **changes: Any) -> dict[str, Any]:
    metrics = {"cpu": 150.0, "memory": 2_000, "managed": 500, "executing": 2, "ready": 1, "time": T, "bytes_in": 0}
    row = {
        "incarnation": incarnation,
        "name": f"worker-{incarnation}",
        "address": "tcp://h:1",
        "host": "h",
        "pid": 7,
        "nthreads": 2,
        "memory_limit": 8_000,
        "status": "running",
        "tasks": 3,
        "stored": 4,
        "nbytes": 500,
        "last_seen_s": 0.1,
        "metrics": metrics,
    }
    return {
        **row,
        **{k: v for k, v in changes.items() if k in row},
        "metrics": {**metrics, **changes.get("metrics", {})},
    }


def progress(name: str = "inc", **counts: int) -> dict[str, Any]:
    return {"name": name, **dict.fromkeys(module.STATES, 0), **counts}


def overview(workers: Any = (), rows: Any = (), **more: Any) -> dict[str, Any]:
    return {"workers": tuple(workers), "progress": tuple(rows), "clients": 1, "address": "tcp://s:8786", **more}


def test_totals_add_up() -> None:
    model = Model("c")
    model.set_overview(T, overview([worker("a"), worker("b")], [progress(memory=5, erred=1, assigned=2, waiting=3)]))
    model.tick(T)
    totals = model.overview()["totals"]
    assert totals["workers"] == 2
    assert totals["threads"] == 4
    assert totals["cpu_percent"] == 75.0
    assert totals["memory_bytes"] == 4_000
    assert totals["memory_limit_bytes"] == 16_000
    assert totals["tasks"] == {"total": 11, "done": 5, "failed": 1, "failed_runs": 1, "running": 4, "pending": 5}


def test_the_rate_follows_the_finished_runs() -> None:
    model = Model()
    model.tick(T)
    for step in range(1, 30):
        model.add_runs([(f"inc-{i}", "a", 0, T + step, 0.001, True) for i in range(50)])
        model.tick(T + step * 0.5)
    assert model.rate == pytest.approx(100, rel=0.01)
    for step in range(30, 60):
        model.tick(T + step * 0.5)
    assert model.rate == 0.0


def test_history_is_bounded() -> None:
    model = Model()
    for step in range(module.HISTORY + 50):
        model.set_overview(T + step, overview([worker()]))
        model.tick(T + step)
    assert len(model.history) == module.HISTORY
    assert model.samples == module.HISTORY + 50
    assert len(model.workers["a"].cpu_history) == module.WORKER_HISTORY
    assert model.history[-1].cpu == 75.0
    assert (model.workers["a"].memory_history[-1], model.workers["a"].memory_percents[-1]) == (2000, 25)
    assert len(model.workers["a"].memory_percents) == module.SPARK


def test_network_rates_come_from_the_workers_own_clock() -> None:
    model = Model()
    model.set_overview(T, overview([worker(metrics={"time": 10.0, "bytes_in": 1_000, "bytes_out": 0})]))
    model.set_overview(T + 0.5, overview([worker(metrics={"time": 10.0, "bytes_in": 1_000, "bytes_out": 0})]))
    model.set_overview(T + 1, overview([worker(metrics={"time": 12.0, "bytes_in": 5_000, "bytes_out": 200})]))
    row = model.overview()["workers"][0]
    assert (row["received_bytes_per_s"], row["sent_bytes_per_s"]) == (2_000, 100)


def test_workers_that_left_are_gone_and_others_are_in_natural_order() -> None:
    model = Model()
    model.set_overview(T, overview([worker("x", name="w-10"), worker("y", name="w-9"), worker("z", name="7")]))
    assert [row["name"] for row in model.overview()["workers"]] == ["7", "w-9", "w-10"]
    assert [row["label"] for row in model.page()["workers"]] == ["worker 7", "w-9", "w-10"]
    model.set_overview(T, overview([worker("y", name="w-9")]))
    assert list(model.workers) == ["y"]


def test_progress_counts_what_the_scheduler_has_forgotten_since_the_work_began() -> None:
    model = Model()
    model.set_overview(T, overview(rows=[progress(waiting=100)]))
    model.set_overview(T, overview(rows=[progress(waiting=40, memory=10, done=60)]))
    row = model.progress[0]
    assert (row["memory"], row["released"], row["total"]) == (10, 50, 100)
    model.set_overview(T, overview(rows=[progress(done=100)]))
    assert (model.progress[0]["released"], model.progress[0]["total"]) == (100, 100), "finished work stays on show"
    model.set_overview(T, overview(rows=[progress(done=100, queued=10)]))
    assert (model.progress[0]["released"], model.progress[0]["total"]) == (0, 10), "new work begins at zero"


def test_mean_duration_comes_from_the_runs_seen_or_from_the_scheduler() -> None:
    model = Model()
    model.set_overview(T, overview(rows=[{**progress(memory=1), "duration": 0.5}]))
    assert model.progress[0]["mean_s"] == 0.5
    model.add_runs([("inc-1", "a", 0, T, 0.25, True), ("inc-2", "a", 0, T + 1, 0.75, True)])
    model.tick(T)
    model.set_overview(T, overview(rows=[{**progress(memory=1), "duration": 9.0}]))
    assert model.progress[0]["mean_s"] == 0.5


def test_a_page_shows_so_many_rows_and_counts_the_rest() -> None:
    model = Model()
    model.set_overview(
        T,
        overview(
            [worker(f"{i:03}") for i in range(module.WORKERS_SHOWN + 5)],
            [progress(f"k{i}", memory=1, waiting=int(i == 3)) for i in range(module.KINDS_SHOWN + 4)],
        ),
    )
    page = model.page()
    assert (len(page["workers"]), page["workers_hidden"]) == (module.WORKERS_SHOWN, 5)
    assert (len(page["progress"]), page["progress_hidden"]) == (module.KINDS_SHOWN, 4)
    assert "k3" in [row["name"] for row in page["progress"]], "unfinished kinds come first"
    assert page["totals"]["workers"] == module.WORKERS_SHOWN + 5


def test_whatever_a_worker_claims_is_converted() -> None:
    model = Model()
    hostile = worker(name="<b>" * 500, nthreads="many", memory_limit=-1, address=None, metrics={"cpu": float("nan")})
    hostile["metrics"] |= {"memory": "much", "time": float("inf"), "bytes_in": [], "executing": 1e300}
    model.set_overview(T, overview([hostile, "no map", {"metrics": 5}], [progress(memory=-5), 7, {"total": "x"}]))
    model.tick(T)
    json.dumps(model.page(), allow_nan=False)
    assert len(model.workers["a"].name) == 256
    assert model.workers["a"].cpu == 0.0


def test_times_that_make_no_sense_do_not_reach_the_json() -> None:
    model = Model()
    model.add_runs([("inc-1", "a", 0, T, float("nan"), True), ("inc-2", "a", 0, T, 1e8, True)])
    model.tick(T)
    model.set_overview(T, overview(rows=[progress(memory=2)]))
    json.dumps(model.page(), allow_nan=False)
    assert model.stream.hidden == 1


def test_clear_forgets_but_readers_notice() -> None:
    model = Model("c")
    model.add_runs([("inc-1", "a", 0, T, 1.0, True)])
    model.set_overview(T, overview([worker()], [progress(memory=1)]))
    model.tick(T)
    sequence, generation = model.stream.sequence, model.stream.generation
    model.clear()
    assert model.workers == {}
    assert model.progress == []
    assert model.stream.all() == []
    assert model.stream.generation > generation
    assert model.stream.sequence == sequence
    assert model.overview()["cluster"]["connection"] == "connecting"


def test_connection_is_told() -> None:
    model = Model("c")
    model.set_connection("lost", "it closed")
    cluster = model.page()["cluster"]
    assert (cluster["connection"], cluster["connection_text"], cluster["name"]) == ("lost", "it closed", "c")


def test_it_is_told_that_nothing_goes_on() -> None:
    model = Model("c")
    model.set_overview(T, {**overview([worker()], []), "stalled": {"cause": "no-workers", "text": "Nothing goes on"}})
    assert model.page()["cluster"]["stalled"] == "Nothing goes on"
    model.set_overview(T, {**overview([worker()], []), "stalled": None})
    assert model.page()["cluster"]["stalled"] == ""


def test_number_and_text() -> None:
    assert [number(value) for value in (1, 1.5, -1, 1e30, float("inf"), "1", None, True)] == [1, 1.5, 0, 0, 0, 0, 0, 0]
    assert [text(value) for value in ("a", None, 5)] == ["a", "", "5"]
