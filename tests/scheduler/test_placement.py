"""Which task runs where, and how far ahead workers are sent tasks."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.events import Received
from myscheduler.scheduler.placement import HOLDERS_NAMED, WARM_BYTES
from tests.support.scheduler import Cluster


def _scatter(cluster: Cluster, key: str, worker: str, nbytes: int) -> None:
    [(attempt, _)] = cluster.call("place", 1, (worker,), False, None)
    cluster.say("c", (m.PLACED, 100, ((key, attempt, nbytes, "bytes", (worker,)),)))


def test_few_tasks_spread_over_all_workers() -> None:
    cluster = Cluster(workers=4)
    cluster.submit({f"x-{i}": () for i in range(4)})
    assert [len(cluster.runs(f"w{i}")) for i in range(4)] == [1, 1, 1, 1]


def _place_of_one(cluster: Cluster, key: str) -> str:
    """Submit one task; the only worker that is sent it."""
    cluster.submit({key: ()})
    [worker] = [worker for worker in cluster.core.workers if key in cluster.runs(worker)]
    return worker


def test_a_task_that_comes_alone_goes_to_the_worker_that_is_warm() -> None:
    cluster = Cluster(workers=3)
    first = _place_of_one(cluster, "x-0")
    attempt = cluster.core.tasks["x-0"].attempt
    cluster.finish(first, {"x-0": attempt}, nbytes=8)
    for i in range(1, 5):
        assert _place_of_one(cluster, f"x-{i}") == first
        cluster.finish(first, {f"x-{i}": cluster.core.tasks[f"x-{i}"].attempt}, nbytes=8)
    assert _place_of_one(cluster, "y-0") == first
    assert _place_of_one(cluster, "y-1") != first  # it is busy


def test_a_worker_that_holds_much_more_than_others_is_not_kept_warm() -> None:
    cluster = Cluster(workers=2)
    places = []
    for i in range(4):
        places.append(_place_of_one(cluster, f"x-{i}"))
        cluster.finish(places[-1], {f"x-{i}": cluster.core.tasks[f"x-{i}"].attempt}, nbytes=WARM_BYTES)
    assert sorted(places) == ["w0", "w0", "w1", "w1"]


def test_a_worker_where_something_failed_is_not_kept_warm() -> None:
    cluster = Cluster(workers=3)
    first = _place_of_one(cluster, "x-0")
    cluster.finish(first, {"x-0": cluster.core.tasks["x-0"].attempt})
    assert _place_of_one(cluster, "x-1") == first
    cluster.fail(first, {"x-1": cluster.core.tasks["x-1"].attempt})
    assert _place_of_one(cluster, "x-2") != first


def test_a_worker_is_warm_until_it_has_gone() -> None:
    cluster = Cluster(workers=2)
    first = _place_of_one(cluster, "x-0")
    cluster.finish(first, {"x-0": cluster.core.tasks["x-0"].attempt})
    cluster.lose(first)
    assert cluster.core.warm is None
    cluster.run_all()
    assert _place_of_one(cluster, "x-1") != first


def test_long_tasks_are_not_sent_ahead() -> None:
    cluster = Cluster(workers=1, nthreads=2)
    cluster.submit({"slow-0": ()})
    cluster.finish("w0", cluster.runs("w0"), seconds=1.0)
    cluster.submit({f"slow-{i}": () for i in range(1, 11)})
    assert len(cluster.runs("w0")) == 2


def test_a_long_task_keeps_one_thread_busy_and_the_others_are_sent_short_ones_ahead() -> None:
    cluster = Cluster(workers=1, nthreads=2)
    cluster.submit({"slow-0": (), "fast-0": ()})
    for key, attempt in cluster.runs("w0").items():
        cluster.finish("w0", {key: attempt}, seconds=1.0 if key == "slow-0" else 2**-10)
    cluster.submit({f"slow-{i}": () for i in range(1, 3)} | {f"fast-{i}": () for i in range(1, 101)})
    sent = cluster.runs("w0")
    assert list(sent) == ["slow-1", "slow-2"]
    cluster.finish("w0", {"slow-2": sent["slow-2"]}, seconds=1.0)
    assert list(cluster.runs("w0")) == [f"fast-{i}" for i in range(1, 12)]


def test_short_tasks_are_sent_ahead_in_numbers() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"fast-0": ()})
    cluster.finish("w0", cluster.runs("w0"), seconds=1e-5)
    cluster.submit({f"fast-{i}": () for i in range(1, 501)})
    assert 100 < len(cluster.runs("w0")) <= 500


def test_how_far_ahead_goes_by_what_is_known_when_tasks_are_sent() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({f"slow-{i}": () for i in range(10)})
    sent = cluster.runs("w0")
    assert len(sent) > 1  # nothing is known
    cluster.finish("w0", sent, seconds=1.0)
    assert len(cluster.runs("w0")) == 1


def test_what_is_sent_ahead_is_shared_evenly() -> None:
    cluster = Cluster(workers=4, nthreads=2)
    cluster.submit({f"unknown-{i}": () for i in range(12)})
    assert [len(cluster.runs(f"w{i}")) for i in range(4)] == [3, 3, 3, 3]


def test_workers_far_away_are_sent_more_ahead() -> None:
    sent = {}
    for seconds in (0.0, 0.1, 1e9, "nonsense"):
        cluster = Cluster(workers=1)
        cluster.say("w0", (m.HEARTBEAT, {"round_trip": seconds}))
        cluster.submit({"task-0": ()})
        cluster.finish("w0", cluster.runs("w0"), seconds=0.02)
        cluster.submit({f"task-{i}": () for i in range(1, 501)})
        sent[seconds] = len(cluster.runs("w0"))
    assert sent == {0.0: 1, 0.1: 16, 1e9: 151, "nonsense": 1}


def test_a_task_runs_where_its_large_input_is() -> None:
    cluster = Cluster(workers=3)
    _scatter(cluster, "small", "w0", 10)
    _scatter(cluster, "large", "w2", 10**9)
    cluster.submit({"x": ("small", "large")})
    assert list(cluster.runs("w2")) == ["x"]


def test_a_task_waits_for_the_worker_with_its_inputs_while_all_are_busy() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"long-0": ()})
    cluster.finish("w0", cluster.runs("w0"), seconds=0.05)
    _scatter(cluster, "large", "w0", 10**7)
    _scatter(cluster, "small", "w1", 10**6)
    cluster.submit({"long-1": (), "long-2": ()})
    cluster.submit({f"long-{i}": ("large", "small") for i in range(3, 6)})
    assert [ws.local.length + len(ws.assigned) for ws in cluster.core.workers.values()] == [4, 1]


def test_compute_names_where_missing_inputs_are() -> None:
    cluster = Cluster(workers=2)
    _scatter(cluster, "small", "w0", 10)
    _scatter(cluster, "large", "w1", 10**9)
    cluster.submit({"x": ("small", "large")})
    [row] = cluster.rows("w1", m.COMPUTE)
    attempt = cluster.core.tasks["small"].attempt
    assert row[5] == ("small", "large")
    assert row[6] == (("small", attempt, 10, ("tcp://w0",)),)


def test_restricted_tasks_wait_for_their_worker() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": ()}, workers=("w1",))
    assert not cluster.runs("w0")
    assert list(cluster.runs("w1")) == ["x"]
    cluster.submit({"y": ()}, workers=("nowhere",))
    cluster.submit({"z": ()}, workers=("host-w0",))
    assert not cluster.runs("w1")
    assert list(cluster.runs("w0")) == ["z"]
    assert "none of the 2 workers meets its requirement: workers nowhere" in cluster.call("explain", "y")
    cluster.worker("w-nowhere", name="nowhere")
    assert list(cluster.runs("w-nowhere")) == ["y"]


def test_a_loose_restriction_is_a_wish() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()}, workers=("nowhere",), loose=True)
    assert list(cluster.runs("w0")) == ["x"]


def test_resources_are_never_overbooked() -> None:
    cluster = Cluster(workers=1, nthreads=4, resources={"GPU": 2})
    cluster.submit({f"x-{i}": () for i in range(5)}, resources=(("GPU", 1),))
    first = cluster.runs("w0")
    assert len(first) == 2
    assert "resources it needs are all in use" in cluster.call("explain", "x-4")
    cluster.finish("w0", first)
    cluster.run_all()
    assert set(cluster.outcomes().values()) == {"memory"}


def test_inputs_too_large_for_every_worker_fail_the_task_in_words() -> None:
    cluster = Cluster(workers=2, memory_limit=1000)
    _scatter(cluster, "a", "w0", 600)
    _scatter(cluster, "b", "w1", 600)
    cluster.submit({"x": ("a", "b")}, wants=["x"])
    [row] = [row for x in cluster.take("c") if x[0] == m.FAILED for row in x[1]]
    assert row[2].startswith("InsufficientMemoryError: the inputs of task 'x' take 1200 bytes together")
    assert "--memory-limit" in row[2]


def test_inputs_go_to_a_worker_with_memory_for_them() -> None:
    cluster = Cluster(workers=1, memory_limit=1000)
    cluster.worker("w-big")
    _scatter(cluster, "a", "w0", 600)
    _scatter(cluster, "b", "w0", 600)
    cluster.submit({"x": ("a", "b")}, wants=["x"])
    assert not cluster.runs("w0")
    assert list(cluster.runs("w-big")) == ["x"]


def test_the_queue_of_a_lost_worker_is_shared_out() -> None:
    cluster = Cluster(workers=2)
    _scatter(cluster, "data", "w0", 10**9)
    cluster.say("w1", (m.REPLICAS, (("data", cluster.core.tasks["data"].attempt),)))
    cluster.submit({f"x-{i}": ("data",) for i in range(10)}, workers=("w0", "w1"))
    cluster.lose("w0")
    cluster.run_all()
    assert set(cluster.outcomes().values()) == {"memory"}


def test_requirements_are_forgotten_with_their_tasks() -> None:
    cluster = Cluster(workers=1)
    for index in range(1005):
        cluster.submit({f"x-{index}": ()}, workers=("w0", f"other-{index}"))
        cluster.run_all()
    assert len(cluster.core.requirements) <= 1000
    assert not cluster.core.special
    cluster.submit({"stuck": ()}, workers=("nowhere",))
    assert len(cluster.core.special) == 1
    cluster.say("c", (m.RELEASE, ("stuck",)))
    cluster.submit({"y": ()})
    assert not cluster.core.special


def _calls(cluster: Cluster, worker: str, message: m.Message) -> Counter[str]:
    """What is called in one turn, by name."""
    found: Counter[str] = Counter()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            found[frame.f_code.co_name] += 1

    cluster.now += 0.001
    sys.setprofile(note)
    try:
        cluster.machine.handle(cluster.now, [Received(worker, (message,))])
        cluster.machine.next_deadline()
    finally:
        sys.setprofile(None)
    return found


def _idling(workers: int) -> Counter[str]:
    """A chain, one task at a time."""
    cluster = Cluster(workers=workers)
    cluster.submit({"a-0": (), "a-1": ("a-0",), "a-2": ("a-1",)})
    [attempt] = cluster.runs("w0").values()
    return _calls(cluster, "w0", (m.RESULTS, (("a-0", attempt, 8, "int", None, 0, 0.0, 0.1),)))


def _busy(workers: int) -> Counter[str]:
    """All workers have been sent something ahead, and one reports."""
    cluster = Cluster(workers=workers)
    cluster.submit({f"a-{i}": () for i in range(4 * workers)})
    runs = cluster.runs("w1")
    assert len(runs) > 1
    rows = tuple((key, attempt, 8, "int", None, 0, 0.0, 0.1) for key, attempt in runs.items())
    return _calls(cluster, "w1", (m.RESULTS, rows))


def _helping_in_vain(workers: int) -> Counter[str]:
    """Half of the workers have queues that nobody else can shorten, the others idle."""
    cluster = Cluster(workers=workers)
    for number in range(0, workers, 2):
        _scatter(cluster, f"data-{number}", f"w{number}", 10**12)
        cluster.submit({f"a-{number}-{i}": (f"data-{number}",) for i in range(2)})
        cluster.finish(f"w{number}", {}, seconds=1.0)
    cluster.submit({f"b-{number}": (f"data-{number}",) for number in range(0, workers, 2) for i in range(9)})
    cluster.step()
    return _calls(cluster, "w1", (m.HEARTBEAT, {}))


@pytest.mark.parametrize("situation", [_idling, _busy, _helping_in_vain])
def test_a_turn_calls_nothing_for_workers_that_have_no_part_in_it(situation: Any) -> None:
    assert situation(100) == situation(30)


def test_of_many_holders_of_an_input_some_are_named_others_each_time() -> None:
    cluster = Cluster(workers=60)
    _scatter(cluster, "data", "w0", 100)
    attempt = cluster.core.tasks["data"].attempt
    for number in range(1, 50):
        cluster.say(f"w{number}", (m.REPLICAS, (("data", attempt),)))
    cluster.submit({f"work-{i}": ("data",) for i in range(60)}, workers=tuple(f"w{i}" for i in range(50, 60)))
    named = [row[6][0][3] for i in range(50, 60) for row in cluster.rows(f"w{i}", m.COMPUTE)]
    assert {len(dict.fromkeys(addresses)) for addresses in named} == {HOLDERS_NAMED}
    assert len(dict.fromkeys(named)) == len(named)


def test_tasks_for_some_workers_are_offered_to_idle_ones_when_they_come() -> None:
    cluster = Cluster(workers=3)
    for _ in range(3):
        cluster.submit({"x": ()}, resources=(("GPU", 1),))
        assert not any(cluster.runs(name) for name in ("w0", "w1", "w2"))
        cluster.say("c", (m.RELEASE, ("x",)))
    cluster.submit({"x": ()}, resources=(("GPU", 1),))
    cluster.worker("w-gpu", resources={"GPU": 1})
    first = cluster.runs("w-gpu")
    assert list(first) == ["x"]
    cluster.submit({"y": ()}, resources=(("GPU", 1),))
    cluster.finish("w-gpu", first)
    assert list(cluster.runs("w-gpu")) == ["y"]


def test_a_busy_worker_is_sent_one_more_per_thread_if_its_inputs_have_to_be_fetched() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"long-0": ()})
    cluster.finish("w0", cluster.runs("w0"), seconds=1.0)
    _scatter(cluster, "here", "w0", 10**8)
    _scatter(cluster, "there", "w1", 10**6)
    cluster.submit({f"long-{i}": () for i in range(1, 3)})
    assert [len(cluster.runs(name)) for name in ("w0", "w1")] == [1, 1]
    cluster.submit({"long-3": ("here",)})
    assert not cluster.runs("w0")  # nothing has to be fetched
    cluster.say("c", (m.RELEASE, ("long-3",)))
    cluster.submit({f"long-{i}": ("here", "there") for i in range(5, 8)})
    sent = cluster.runs("w0")
    assert list(sent) == ["long-5"]
    attempt = cluster.core.tasks["there"].attempt
    cluster.say("w0", (m.REPLICAS, (("there", attempt),)))
    assert not cluster.runs("w0")  # the others can be run as they are by now
    cluster.finish("w0", sent)
    assert not cluster.core.workers["w0"].fetching
