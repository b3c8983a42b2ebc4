"""Chains of short tasks: what is sent to a worker before its inputs are there."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.events import Received
from myscheduler.scheduler.explain import explain
from myscheduler.scheduler.liveness import UNRESPONSIVE_AFTER_S
from myscheduler.scheduler.placement import FEW_DEPENDENTS
from tests.support.scheduler import FUNCTION, Cluster, copy, run


def chain(length: int) -> dict[Any, tuple[Any, ...]]:
    return {("step", i): (("step", i - 1),) if i else () for i in range(length)}


def experienced(seconds: float = 1e-5, **kw: Any) -> Cluster:
    """A cluster of one worker, or more, that knows how long a step takes."""
    cluster = Cluster(**{"workers": 1, **kw})
    cluster.submit({("step", -1): ()})
    cluster.run_all(seconds)
    cluster.outcomes()
    return cluster


def test_a_chain_of_short_tasks_goes_over_as_a_whole() -> None:
    cluster = experienced()
    cluster.submit(chain(20), wants=[("step", 19)])
    rows = cluster.rows("w0", m.COMPUTE)
    assert [row[0] for row in rows] == [("step", i) for i in range(20)]
    assert [row[7] & m.FLAG_FOLLOWS for row in rows] == [0, *[m.FLAG_FOLLOWS] * 19]
    assert all(row[6] == () for row in rows)
    cluster.finish("w0", {row[0]: row[1] for row in rows})
    assert cluster.outcomes()["step", 19] == "memory"
    assert cluster.runs("w0") == {}


def test_it_takes_one_slot_so_that_others_find_room() -> None:
    cluster = experienced(nthreads=2)
    cluster.submit(chain(20))
    assert len(cluster.runs("w0")) == 20
    assert len(cluster.core.workers["w0"].assigned) == 1
    cluster.submit({"other": ()})
    assert "other" in cluster.runs("w0")


def test_its_slot_is_its_own_when_the_first_left_it_and_ends() -> None:
    cluster = experienced()
    cluster.submit(chain(2))
    runs = cluster.runs("w0")
    cluster.say("w0", (m.SECEDED, ((("step", 0), runs["step", 0]),)))
    ended = (("step", 0), runs["step", 0], 8, "int", None, 0, 0.0, 1.0)
    option = (0, 0, ("elsewhere",), False, None, None)  # offered to all that are idle
    submit = (m.SUBMIT, 100, (), (option,), ((("step", 2), FUNCTION, b"args", (), 0, 0),), None, False)
    cluster.step(Received("w0", ((m.RESULTS, (ended,)),)), Received("c", (submit,)))
    ws = cluster.core.workers["w0"]
    assert list(ws.assigned) == [cluster.core.tasks["step", 1]]
    assert ws not in cluster.core.idle


def test_as_much_is_sent_as_keeps_the_worker_busy() -> None:
    cluster = experienced(0.001)
    cluster.submit(chain(100))
    first = cluster.runs("w0")
    assert 5 < len(first) < 20
    cluster.finish("w0", dict(list(first.items())[:3]))
    assert list(cluster.runs("w0")) == [("step", len(first) + i) for i in range(3)]


@pytest.mark.parametrize("seconds", [None, 1.0])
def test_what_may_be_long_is_not_sent_before_its_inputs_are_there(seconds: float | None) -> None:
    cluster = Cluster(workers=1) if seconds is None else experienced(seconds)
    cluster.submit(chain(3))
    assert list(cluster.runs("w0")) == [("step", 0)]


def test_nothing_follows_what_may_be_long() -> None:
    cluster = experienced()
    cluster.submit({"unknown": (), ("step", 0): ("unknown",)})
    assert list(cluster.runs("w0")) == ["unknown"]


def test_of_many_dependents_none_is_sent_ahead_as_others_may_help() -> None:
    for count in (FEW_DEPENDENTS, FEW_DEPENDENTS + 1):
        cluster = experienced()
        cluster.submit({("step", 0): (), **{("step", i): (("step", 0),) for i in range(1, count + 1)}})
        assert len(cluster.runs("w0")) == 1 + (count if count <= FEW_DEPENDENTS else 0)


def test_what_needs_results_of_two_workers_waits_for_both() -> None:
    cluster = experienced(workers=2)
    cluster.submit({("step", 0): (), ("step", 1): (), ("step", 2): (("step", 0), ("step", 1))})
    runs = {name: cluster.runs(name) for name in ("w0", "w1")}
    assert [len(each) for each in runs.values()] == [1, 1]


def test_with_both_on_one_worker_it_follows_both() -> None:
    cluster = experienced(nthreads=2)
    cluster.submit({("step", 0): (), ("step", 1): (), ("step", 2): (("step", 0), ("step", 1))})
    runs = cluster.runs("w0")
    assert list(runs) == [("step", i) for i in range(3)]
    cluster.finish("w0", {("step", 0): runs["step", 0]})
    assert list(cluster.core.workers["w0"].following) == [cluster.core.tasks["step", 2]]
    cluster.finish("w0", {("step", 1): runs["step", 1]})
    assert list(cluster.core.workers["w0"].assigned) == [cluster.core.tasks["step", 2]]


def test_requirements_are_left_to_the_queues() -> None:
    cluster = experienced()
    cluster.submit(chain(2), workers=("w0",))
    assert list(cluster.runs("w0")) == [("step", 0)]


def test_when_the_first_fails_the_others_fail_with_it() -> None:
    cluster = experienced()
    cluster.submit(chain(3))
    runs = cluster.runs("w0")
    first, *others = runs.items()
    cluster.say(
        "w0",
        (m.ERRORS, ((*first, b"exc", "ValueError: no", "", 0, 0.0, 0.1),)),
        (m.UNFETCHED, tuple((key, attempt, (((*key[:1], key[1] - 1), 0, ""),)) for key, attempt in others)),
    )
    assert cluster.outcomes() == {("step", 0): "failed", ("step", 1): "failed", ("step", 2): "failed"}
    assert cluster.core.workers["w0"].runs() == []


def test_what_could_not_follow_is_not_counted_as_unreachable() -> None:
    cluster = experienced()
    cluster.submit(chain(2), retries=10)
    for _ in range(8):
        runs = cluster.runs("w0")
        cluster.say(
            "w0",
            (m.ERRORS, ((("step", 0), runs["step", 0], b"exc", "ValueError: no", "", 0, 0.0, 0.1),)),
            (m.UNFETCHED, ((("step", 1), runs["step", 1], ((("step", 0), runs["step", 0], ""),)),)),
        )
    cluster.run_all()
    assert cluster.outcomes()["step", 1] == "memory"


def test_a_result_counts_only_if_what_it_was_made_from_does() -> None:
    cluster = experienced()
    cluster.submit(chain(2))
    runs = cluster.runs("w0")
    error = ("TimeoutError: too long", "", 0, 0.0, 0.1)
    cluster.say("w0", (m.OVERDUE, ((("step", 0), runs["step", 0], b"exc", *error),)))
    cluster.finish("w0", {("step", 1): runs["step", 1]})
    assert (("step", 1), runs["step", 1]) in cluster.rows("w0", m.FREE)
    assert cluster.outcomes() == {("step", 0): "failed", ("step", 1): "failed"}


def test_of_a_worker_that_dies_all_begins_again() -> None:
    cluster = experienced()
    cluster.submit(chain(5))
    assert len(cluster.runs("w0")) == 5
    cluster.worker("w1")
    cluster.lose("w0")
    cluster.run_all()
    assert set(cluster.outcomes().values()) == {"memory"}
    assert cluster.core.tasks["step", 1].kills == 0  # it had not begun


def test_a_silent_worker_keeps_what_it_may_run_and_nothing_that_follows() -> None:
    cluster = experienced()
    cluster.submit(chain(5))
    cluster.runs("w0")
    cluster.core.attended += UNRESPONSIVE_AFTER_S
    cluster.now += 1.0
    cluster.step()
    assert list(cluster.core.workers["w0"].runs()) == [cluster.core.tasks["step", 0]]
    assert cluster.status(("step", 1)) == "waiting"


def test_a_worker_that_retires_is_asked_for_them() -> None:
    cluster = experienced()
    cluster.submit(chain(3))
    runs = cluster.runs("w0")
    cluster.worker("w1")
    cluster.say("c", (m.CALL, 50, "retire_workers", (("w0",),)))
    assert dict(cluster.rows("w0", m.RECALL)) == runs
    cluster.say("w0", (m.RECALLED, tuple(runs.items())[1:]))
    cluster.finish("w0", dict(list(runs.items())[:1]))
    assert len(cluster.rows("w1", m.ACQUIRE)) >= 1


def test_a_worker_that_comes_back_goes_on_with_them() -> None:
    cluster = experienced()
    cluster.submit(chain(3))
    runs = cluster.runs("w0")
    held = [copy(key, ts.attempt) for key, ts in cluster.core.tasks.items() if ts.holders]
    cluster.cut("w0")
    done, following, lost = runs.items()
    cluster.come_back("w0", copies=[*held, copy(*done)], runs=[run(*following)])
    ws = cluster.core.workers["w0"]
    assert list(ws.assigned) == [cluster.core.tasks["step", 1]]
    assert list(cluster.runs("w0")) == [("step", 2)]
    assert cluster.core.tasks["step", 2].attempt > lost[1]


def test_it_is_explained() -> None:
    cluster = experienced()
    cluster.submit(chain(2))
    attempt = cluster.runs("w0")["step", 1]
    assert explain(cluster.core, ("step", 1)) == (
        f"('step', 1) was sent to worker w0 (tcp://w0) as attempt {attempt}. It runs there as soon as ('step', 0), which it "
        "needs, has ended there."
    )
