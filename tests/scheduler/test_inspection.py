"""A closer look at tasks and workers."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler import inspection
from myscheduler.scheduler.events import PeerJoined
from tests.support.scheduler import VERSIONS, Cluster


def _observed(**options: Any) -> Cluster:
    cluster = Cluster(**options)
    cluster.step(PeerJoined("o", m.Role.OBSERVER, {"versions": VERSIONS}))
    cluster.take("o")
    return cluster


def test_a_task_is_told_with_its_inputs_and_dependents() -> None:
    cluster = _observed(workers=1)
    cluster.submit({"a": (), ("b", 0): ("a",), b"c": (("b", 0),)}, wants=["a", b"c"])
    task = cluster.call("task", ("b", 0), client="o")
    assert task["key"] == ("b", 0)
    assert (task["kind"], task["status"], task["attempt"], task["clients"]) == ("b", "waiting", 0, 0)
    assert task["why"] == "('b', 0) waits for 1 of its 1 inputs: 'a' (assigned)."
    assert (task["inputs"], task["inputs_total"]) == ([("a", "assigned")], 1)
    assert (task["dependents"], task["dependents_total"]) == ([(b"c", "waiting")], 1)
    assert task["error"] is None
    cluster.run_all()
    task = cluster.call("task", "a", client="o")
    assert (task["status"], task["nbytes"], task["type"], task["clients"]) == ("memory", 8, "int", 1)
    assert task["workers"] == [("w0", "w0")]


def test_a_task_that_is_not_there() -> None:
    task = _observed().call("task", "nobody", client="o")
    assert (task["key"], task["status"]) == ("nobody", "unknown")
    assert task["why"].startswith("The scheduler does not know 'nobody'")


def test_a_failure_is_told_in_words_and_without_payload() -> None:
    cluster = _observed(workers=1)
    cluster.submit({"a": (), "b": ("a",)})
    cluster.fail("w0", cluster.runs("w0"))
    for key in ("a", "b"):
        task = cluster.call("task", key, client="o")
        assert task["error"] == {"culprit": "a", "text": "ValueError: no", "traceback": "Traceback"}
        assert b"exc" not in task.values()
        assert b"args" not in task.values()


def test_requirements_are_told() -> None:
    cluster = _observed(workers=1)
    cluster.submit({"a": ()}, resources=(("GPU", 1.0),))
    task = cluster.call("task", "a", client="o")
    assert (task["status"], task["requirement"]) == ("queued", "resources GPU=1")
    cluster.submit({"b": ()})
    assert cluster.call("task", "b", client="o")["requirement"] is None


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "ITEMS_MAX", 2)
    monkeypatch.setattr(inspection, "ROWS_MAX", 3)
    monkeypatch.setattr(inspection, "TEXT_CHARS_MAX", 5)
    cluster = _observed(workers=1, nthreads=3)
    inputs = {f"x-{i}": () for i in range(5)}
    cluster.submit({**inputs, "all": tuple(inputs), **{f"y-{i}": ("x-0",) for i in range(4)}})
    task = cluster.call("task", "all", client="o")
    assert (len(task["inputs"]), task["inputs_total"]) == (2, 5)
    task = cluster.call("task", "x-0", client="o")
    assert (len(task["dependents"]), task["dependents_total"]) == (2, 5)
    assert len(cluster.call("tasks", None, None, 0, 1000, client="o")["tasks"]) == 3
    worker = cluster.call("worker", "w0", client="o")
    assert (len(worker["at_worker"]), worker["at_worker_total"]) == (2, len(cluster.core.workers["w0"].assigned))
    cluster.fail("w0", cluster.runs("w0"))
    error = cluster.call("task", "x-0", client="o")["error"]
    assert (error["text"], error["traceback"]) == ("Value", "eback")


def test_tasks_are_listed_by_kind_and_state_in_pages() -> None:
    cluster = _observed(workers=1)
    cluster.submit({**{f"inc-{i}": () for i in range(5)}, "sum": ("inc-0", "inc-1")})

    def keys(*question: Any) -> tuple[int, list[Any]]:
        answer = cluster.call("tasks", *question, client="o")
        return answer["total"], [row["key"] for row in answer["tasks"]]

    assert keys(None, None, 0, 50) == (6, [*(f"inc-{i}" for i in range(5)), "sum"])
    assert keys("inc", None, 1, 2) == (5, ["inc-1", "inc-2"])
    assert keys("inc", None, 4, 50) == (5, ["inc-4"])
    assert keys("inc", None, 50, 50) == (5, [])
    assert keys(None, "waiting", 0, 50) == (1, ["sum"])
    assert keys("inc", "memory", 0, 50) == (0, [])
    assert keys("nobody", None, 0, 50) == (0, [])
    assert keys("inc", None, -5, -5) == (5, [])
    cluster.run_all()
    assert keys("inc", "memory", 3, 50) == (5, ["inc-3", "inc-4"])


def test_states_that_do_not_exist_drop_the_peer() -> None:
    cluster = _observed()
    cluster.say("o", (m.CALL, 1, "tasks", (None, "lost", 0, 10)))
    assert "no state is called 'lost'; they are released, waiting" in cluster.disconnected["o"]


def test_a_worker_is_found_by_each_of_its_names_and_told() -> None:
    cluster = _observed(workers=1, resources={"GPU": 2.0})
    cluster.submit({f"big-{i}": () for i in range(3)}, resources=(("GPU", 1.0),))
    for name in ("w0", "tcp://w0"):
        worker = cluster.call("worker", name, client="o")
        assert (worker["name"], worker["versions"]) == ("w0", VERSIONS)
        assert worker["at_worker_total"] == len(worker["at_worker"]) > 0
    assert worker["free_resources"] == {"GPU": 2.0 - worker["at_worker_total"]}
    cluster.run_all()
    worker = cluster.call("worker", "w0", client="o")
    assert [row["key"] for row in worker["results"]] == ["big-0", "big-1", "big-2"]
    assert (worker["results_total"], worker["at_worker"], worker["free_resources"]) == (3, [], {"GPU": 2.0})
    assert cluster.call("worker", "w9", client="o") is None


def test_a_workers_own_queue_is_told_in_order() -> None:
    cluster = _observed(workers=1)
    cluster.submit({"data": ()})
    cluster.run_all()
    cluster.core.prefixes["use"] = prefix = cluster.core.prefix_of("use")
    prefix.duration = 10.0
    cluster.submit({f"use-{i}": ("data",) for i in range(5)})
    worker = cluster.call("worker", "w0", client="o")
    here = [row["key"] for row in worker["at_worker"] + worker["queued_here"]]
    assert here == [f"use-{i}" for i in range(5)]
    assert worker["queued_here_total"] == len(worker["queued_here"]) > 0
