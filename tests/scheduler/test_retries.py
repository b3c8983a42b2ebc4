"""Trying again: how often, after which errors, after which waits; and runs that take too long."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.protocol import messages as m
from myscheduler.scheduler.retries import RetryQueue, Terms
from myscheduler.scheduler.state import Prefix, TaskState
from tests.support.scheduler import Cluster

WAITING_TERMS = (4.0, 2.0, 10.0, None, None)


def fail(cluster: Cluster, worker: str = "w0") -> None:
    cluster.fail(worker, cluster.runs(worker))


def wait(cluster: Cluster, seconds: float) -> None:
    """Let time pass as the shell does: until the next deadline at most."""
    end = cluster.now + seconds
    while cluster.now < end:
        deadline = cluster.machine.next_deadline()
        cluster.now = end if deadline is None else max(cluster.now + 0.001, min(end, deadline))
        cluster.step()
        for worker in list(cluster.core.workers):
            cluster.say(worker, (m.HEARTBEAT, {}))


def test_waits_grow_and_are_bounded() -> None:
    terms = Terms(5, WAITING_TERMS)
    assert [terms.wait(retry) for retry in (1, 2, 3, 4)] == [4.0, 8.0, 10.0, 10.0]
    assert Terms(5, (1.0, 1000.0, None, None, None)).wait(10_000) == 1e9
    assert Terms(5, (0, 1000.0, None, None, None)).wait(10_000) == 0.0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((1.0, 2.0, None, None), "terms have 5 fields, not 4"),
        ((float("nan"), 2.0, None, None, None), "are no durations"),
        ((1.0, 2.0, float("inf"), None, None), "are no durations"),
        ((1.0, 2.0, None, None, -1), "are no durations"),
        (("1", 2.0, None, None, None), "are no durations"),
        ((1.0, 2.0, None, "OSError", None), "the exceptions of terms are a str"),
    ],
)
def test_garbled_terms_are_refused(row: Any, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        Terms(1, row)


def test_the_queue_gives_out_what_is_due_and_forgets_what_was_taken_out() -> None:
    queue = RetryQueue()
    cluster = Cluster()
    tasks = [TaskState(i, Prefix("x"), None, b"", (), 0, cluster.core.common, 0) for i in range(300)]
    for i, ts in enumerate(tasks):
        queue.add(ts, float(i))
    for ts in tasks[:290]:
        queue.discard(ts)
    assert len(queue._heap) < 100
    queue.add(tasks[0], 295.0)
    assert queue.next_due() == 290.0
    assert queue.pop_due(295.0) == [*tasks[290:296], tasks[0]]
    assert [ts.key for ts in queue.due] == [296, 297, 298, 299]


def test_a_retry_waits_and_explain_says_for_how_long() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": (), "y": ("x",)}, retries=2, terms=WAITING_TERMS)
    fail(cluster)
    assert cluster.status("x") == "retrying"
    wait(cluster, 1.0)
    assert cluster.call("explain", "x") == (
        "'x' failed, and its next try, retry 1 of 2, is in 3.0 s. The error was: ValueError: no"
    )
    assert cluster.call("task", "x")["status"] == "retrying"
    assert cluster.call("overview")["progress"][0]["retrying"] == 1
    assert cluster.runs("w0") == {}
    wait(cluster, 3.0)
    fail(cluster)
    wait(cluster, 7.5)
    assert "retry 2 of 2, is in 0.5 s" in cluster.call("explain", "x")
    wait(cluster, 0.5)
    fail(cluster)
    assert cluster.outcomes() == {"x": "failed", "y": "failed"}


def test_without_a_delay_it_runs_again_at_once() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()}, retries=1, terms=(0.0, 2.0, None, b"classes", None))
    assert cluster.rows("w0", m.TERMS) == [("x", 1, None, b"classes")]
    fail(cluster)
    assert cluster.rows("w0", m.TERMS) == [("x", 2, None, b"classes")]
    cluster.run_all()
    assert cluster.outcomes() == {"x": "memory"}


def test_what_the_worker_calls_final_is_not_tried_again() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()}, retries=5, terms=WAITING_TERMS)
    [(key, attempt)] = cluster.runs("w0").items()
    cluster.say("w0", (m.FINAL, ((key, attempt - 1), (key, attempt), ("stranger", 1))))
    cluster.fail("w0", {key: attempt})
    assert cluster.outcomes() == {"x": "failed"}


def test_the_inputs_are_kept_during_the_wait() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": (), "y": ("x",)}, wants=["y"], retries=1, terms=WAITING_TERMS)
    cluster.finish("w0", cluster.runs("w0"))
    fail(cluster)
    assert [cluster.status(key) for key in "xy"] == ["memory", "retrying"]
    wait(cluster, 4.0)
    assert list(cluster.runs("w0")) == ["y"]


def test_inputs_that_are_lost_during_the_wait_are_made_again() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": (), "y": ("x",)}, wants=["y"], retries=1, terms=WAITING_TERMS)
    cluster.finish("w0", cluster.runs("w0"))
    fail(cluster)
    cluster.lose("w0")
    wait(cluster, 4.0)
    assert [cluster.status(key) for key in "xy"] == ["queued", "waiting"]
    cluster.worker("w1")
    cluster.run_all()
    assert cluster.outcomes() == {"y": "memory"}


@pytest.mark.parametrize("how", ["release", "cancel"])
def test_a_task_that_waits_for_its_next_try_can_be_given_up(how: str) -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()}, retries=1, terms=WAITING_TERMS)
    fail(cluster)
    if how == "release":
        cluster.say("c", (m.RELEASE, ("x",)))
    else:
        cluster.say("c", (m.CANCEL, 9, ("x",), False, "no"))
    assert cluster.status("x") == "unknown"
    wait(cluster, 5.0)
    assert cluster.runs("w0") == {}


def test_an_overdue_run_fails_its_task_and_keeps_its_slot_until_it_ends() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()}, terms=(0.0, 1.0, None, None, 2.5))
    assert cluster.rows("w0", m.TERMS) == [("x", 1, 2.5, None)]
    runs = cluster.runs("w0")
    row = ("x", 1, b"exc", "TaskTimeoutError: too long", "", 0, 0.0, 2.5)
    cluster.say("w0", (m.OVERDUE, (row,)))
    assert cluster.outcomes() == {"x": "failed"}
    ws = cluster.core.workers["w0"]
    assert (ws.sent, len(ws.assigned)) == (1, 0)
    cluster.say("w0", (m.OVERDUE, (row,)))
    assert cluster.core.stale["answers"] == 1
    cluster.say("w0", (m.RECALLED, tuple(runs.items())))
    assert ws.sent == 0


def test_an_overdue_run_may_be_tried_again_elsewhere_at_once() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": ()}, retries=1, terms=(0.0, 1.0, None, b"classes", 2.5))
    [owner] = [name for name in ("w0", "w1") if cluster.runs(name)]
    other = "w1" if owner == "w0" else "w0"
    cluster.say(owner, (m.OVERDUE, (("x", 1, b"exc", "TaskTimeoutError: too long", "", 0, 0.0, 2.5),)))
    assert cluster.runs(owner) == {}
    cluster.finish(other, cluster.runs(other))
    assert cluster.outcomes() == {"x": "memory"}
