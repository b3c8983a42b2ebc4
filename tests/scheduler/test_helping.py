"""When a worker with nothing to do takes over what waits for another."""

from __future__ import annotations

import pytest

from myscheduler.protocol import messages as m
from tests.support.scheduler import Cluster


def _scatter(cluster: Cluster, key: str, worker: str, nbytes: int) -> None:
    [(attempt, _)] = cluster.call("place", 1, (worker,), False, None)
    cluster.say("c", (m.PLACED, 100, ((key, attempt, nbytes, "bytes", (worker,)),)))


def _known(cluster: Cluster, seconds: float) -> None:
    """Let one task of the kind run on w0."""
    cluster.submit({"work-0": ()}, workers=("w0",))
    cluster.finish("w0", cluster.runs("w0"), seconds=seconds)


def test_an_idle_worker_helps_when_the_queue_is_long_and_the_inputs_are_small() -> None:
    cluster = Cluster(workers=2)
    _scatter(cluster, "data", "w0", 100)
    cluster.submit({"work-0": ("data",)})
    cluster.finish("w0", cluster.runs("w0"), seconds=1.0)
    cluster.submit({f"work-{i}": ("data",) for i in range(1, 21)})
    assert cluster.runs("w0")
    assert cluster.runs("w1")


def test_nobody_helps_when_moving_costs_more_than_waiting() -> None:
    cluster = Cluster(workers=2)
    _scatter(cluster, "data", "w0", 10**10)
    cluster.submit({"work-0": ("data",)})
    cluster.finish("w0", cluster.runs("w0"), seconds=0.1)
    cluster.submit({f"work-{i}": ("data",) for i in range(1, 21)})
    assert not cluster.runs("w1")


def test_idle_workers_share_what_one_has_too_much_of() -> None:
    cluster = Cluster(workers=4)
    _scatter(cluster, "data", "w0", 100)
    cluster.submit({"work-0": ("data",)})
    cluster.finish("w0", cluster.runs("w0"), seconds=1.0)
    cluster.submit({f"work-{i}": ("data",) for i in range(1, 41)})
    lengths = [ws.local.length for ws in cluster.core.workers.values()]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("seconds", "helped"), [(0.001, False), (0.1, True)])
def test_few_short_tasks_are_not_worth_their_large_input(seconds: float, helped: bool) -> None:
    cluster = Cluster(workers=2)
    _known(cluster, seconds)
    _scatter(cluster, "data", "w0", 10**8)  # 0.2 s
    cluster.submit({"busy": ()}, workers=("w0",))
    cluster.submit({f"work-{i}": ("data",) for i in range(1, 21)})
    cluster.now += 1.0  # moving would take less than waiting
    cluster.step()
    assert bool(cluster.runs("w1")) is helped


def test_many_short_tasks_share_what_their_input_costs() -> None:
    cluster = Cluster(workers=2)
    _known(cluster, 0.001)
    _scatter(cluster, "data", "w0", 10**7)  # 0.02 s
    cluster.submit({f"work-{i}": ("data",) for i in range(1, 401)})
    moved = cluster.core.workers["w1"].local.length
    assert moved > 20
    assert len(cluster.runs("w1")) > 1


@pytest.mark.parametrize(("nbytes", "helped"), [(10**5, True), (10**7, False)])
def test_tasks_of_which_nothing_is_known_are_moved_if_that_costs_little(nbytes: int, helped: bool) -> None:
    cluster = Cluster(workers=2)
    _scatter(cluster, "data", "w0", nbytes)
    cluster.submit({f"work-{i}": ("data",) for i in range(40)})
    assert bool(cluster.runs("w1")) is helped


def test_tasks_of_which_nothing_is_known_are_moved_when_others_of_their_kind_have_run_for_long() -> None:
    cluster = Cluster(workers=2)
    _scatter(cluster, "data", "w0", 10**7)
    cluster.submit({f"work-{i}": ("data",) for i in range(40)})
    cluster.now += 0.03
    cluster.step()
    assert cluster.runs("w1")


def test_a_task_that_is_about_to_run_where_it_is_stays_there() -> None:
    cluster = Cluster(workers=2)
    _known(cluster, 0.05)
    _scatter(cluster, "data", "w0", 10**7)
    cluster.submit({"short-0": ()}, workers=("w0",))
    cluster.finish("w0", cluster.runs("w0"), seconds=0.02)
    cluster.submit({"short-1": ()}, workers=("w0",))
    cluster.submit({"work-1": ("data",)})
    assert not cluster.runs("w1")


def test_what_does_not_fit_or_may_not_run_on_the_idle_worker_is_passed_over() -> None:
    cluster = Cluster(workers=1)
    cluster.worker("w1", memory_limit=1000)
    _known(cluster, 1.0)
    _scatter(cluster, "large", "w0", 10_000)
    _scatter(cluster, "small", "w0", 100)
    cluster.submit({f"work-{i}": ("large",) for i in range(1, 4)})
    cluster.submit({"work-4": ("small",)}, workers=("w0",))
    assert not cluster.runs("w1")
    cluster.submit({"work-5": ("small",)})
    assert list(cluster.runs("w1")) == ["work-5"]
