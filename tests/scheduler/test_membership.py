"""Workers die, are retired, are restarted."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from myscheduler.scheduler.deaths import VERDICT_S
from tests.support.scheduler import Cluster


def test_what_a_lost_worker_held_is_made_again_from_the_beginning() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"a": (), "b": ("a",), "c": ("b",)}, wants=["c"])
    cluster.run_all()
    cluster.outcomes()
    cluster.lose("w0")
    assert [cluster.status(key) for key in "abc"] == ["queued", "waiting", "waiting"]
    cluster.worker("w1")
    cluster.run_all()
    assert cluster.outcomes() == {"c": "memory"}


def test_what_ran_on_a_lost_worker_runs_elsewhere() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": ()})
    [owner] = [ws for ws in ("w0", "w1") if cluster.runs(ws)]
    cluster.lose(owner)
    other = "w1" if owner == "w0" else "w0"
    assert list(cluster.runs(other)) == ["x"]


def test_a_task_that_kills_workers_is_not_tried_for_ever() -> None:
    cluster = Cluster()
    cluster.submit({"bad": (), "bystander": ("bad",)})
    for index in range(3):
        cluster.worker(f"w{index}")
        cluster.lose(f"w{index}")
    cluster.now += VERDICT_S
    cluster.step()
    failures = {row[0]: row[2] for x in cluster.take("c") if x[0] == m.FAILED for row in x[1]}
    assert set(failures) == {"bad", "bystander"}
    assert failures["bad"].startswith("KilledWorkerError: task 'bad' was running on 3 workers when they died")
    assert "worker w2 (tcp://w2): connection reset" in failures["bad"]


def test_planned_leaving_is_never_held_against_a_task() -> None:
    cluster = Cluster()
    cluster.submit({"x": ()})
    for index in range(10):
        cluster.worker(f"w{index}")
        cluster.say(f"w{index}", (m.GOODBYE, "preempted"))
    assert cluster.outcomes() == {}
    cluster.worker("w-last")
    cluster.run_all()
    assert cluster.outcomes() == {"x": "memory"}


def test_tasks_that_cannot_have_started_are_not_suspected() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"first-1": (), "first-2": ()})
    assert len(cluster.runs("w0")) == 2
    cluster.lose("w0")
    assert [cluster.core.tasks[key].kills for key in ("first-1", "first-2")] == [1, 0]


def test_retiring_moves_data_and_recomputes_nothing() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.outcomes()
    cluster.worker("w1")
    attempt = cluster.core.tasks["x"].attempt
    cluster.say("c", (m.CALL, 50, "retire_workers", (("w0",),)))
    [row] = cluster.rows("w1", m.ACQUIRE)
    assert row == ("x", attempt, 8, ("tcp://w0",))
    cluster.say("w1", (m.REPLICAS, (("x", attempt),)))
    assert (m.STOP, "close", "retired") in cluster.take("w0")
    cluster.lose("w0")
    assert (m.REPLY, 50, True, ("w0",)) in cluster.take("c")
    assert cluster.status("x") == "memory"
    assert cluster.runs("w1") == {}


def test_a_copy_that_could_not_be_fetched_is_asked_for_again() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.worker("w1")
    attempt = cluster.core.tasks["x"].attempt
    cluster.say("c", (m.CALL, 50, "retire_workers", (("w0",),)))
    assert len(cluster.rows("w1", m.ACQUIRE)) == 1
    cluster.say("w1", (m.UNFETCHED, (("x", attempt, (("x", attempt, "tcp://gone"),)),)))
    assert cluster.rows("w1", m.ACQUIRE) == [("x", attempt, 8, ("tcp://w0",))]
    cluster.say("w1", (m.REPLICAS, (("x", attempt),)))
    assert (m.STOP, "close", "retired") in cluster.take("w0")


def test_retiring_waits_for_what_runs_and_recalls_the_rest() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x-1": (), "x-2": ()})
    runs = cluster.runs("w0")
    cluster.worker("w1")
    cluster.say("c", (m.CALL, 50, "retire_workers", (("w0",),)))
    assert {row[0] for row in cluster.rows("w0", m.RECALL)} == {"x-1", "x-2"}
    cluster.say("w0", (m.RECALLED, (("x-2", runs["x-2"]),)))
    assert list(cluster.runs("w1")) == ["x-2"]
    assert not cluster.take("w0")
    cluster.finish("w0", {"x-1": runs["x-1"]})
    [row] = cluster.rows("w1", m.ACQUIRE)
    cluster.say("w1", (m.REPLICAS, (row[:2],)))
    assert cluster.take("w0")[-1][0] == m.STOP


def test_retiring_nobody_is_answered_at_once() -> None:
    cluster = Cluster(workers=1)
    assert cluster.call("retire_workers", ("nobody",)) == ()


def test_clients_that_retire_workers_with_the_same_request_number_are_all_answered() -> None:
    cluster = Cluster(workers=2)
    cluster.client("c2")
    cluster.say("c", (m.CALL, 50, "retire_workers", (("w0",),)))
    cluster.say("c2", (m.CALL, 50, "retire_workers", (("w1",),)))
    cluster.lose("w0")
    cluster.lose("w1")
    assert cluster.take("c") == [(m.REPLY, 50, True, ("w0",))]
    assert cluster.take("c2") == [(m.REPLY, 50, True, ("w1",))]


def test_restart_forgets_all_tasks_and_waits_for_the_workers() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": (), "y": ("x",)})
    cluster.say("c", (m.CALL, 50, "restart", ()))
    assert cluster.outcomes() == {"x": "cancelled", "y": "cancelled"}
    assert cluster.core.tasks == {}
    for index in range(2):
        assert cluster.take(f"w{index}")[-1][:2] == (m.STOP, "restart")
        cluster.lose(f"w{index}")
    cluster.worker("w0b")
    assert cluster.take("c") == []
    cluster.worker("w1b")
    assert cluster.take("c") == [(m.REPLY, 50, True, 2)]


def test_waiting_for_workers_is_answered_when_they_are_there() -> None:
    cluster = Cluster()
    cluster.say("c", (m.CALL, 50, "wait_for_workers", (2,)))
    cluster.worker("w0")
    assert cluster.take("c") == []
    cluster.worker("w1")
    assert cluster.take("c") == [(m.REPLY, 50, True, 2)]
