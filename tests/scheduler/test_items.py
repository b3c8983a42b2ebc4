"""Tasks that need parts of results: what workers are told to fetch, and that sizes are those of the parts."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.items import make_item
from myscheduler.base.keys import Key
from myscheduler.protocol import messages as m
from myscheduler.scheduler.items import SMALL_PART
from tests.support.scheduler import Cluster

WIDTH = 4


def part(number: int, index: int) -> Key:
    return make_item(f"part-{number}-{index}", f"rows-{number}", index)


def all_to_all() -> dict[Any, tuple[Any, ...]]:
    graph: dict[Any, tuple[Any, ...]] = {f"rows-{n}": () for n in range(2)}
    return graph | {f"use-{i}": (part(0, i), part(1, i)) for i in range(WIDTH)}


def spread(nbytes: int, **info: Any) -> Cluster:
    """Each of two workers has made one of the results."""
    cluster = Cluster(workers=2, **info)
    cluster.submit(all_to_all(), wants=[f"use-{i}" for i in range(WIDTH)])
    for worker in ("w0", "w1"):
        runs = cluster.runs(worker)
        assert len(runs) == 1
        cluster.finish(worker, runs, nbytes)
    return cluster


def rows(cluster: Cluster) -> dict[str, Any]:
    """The rows of COMPUTE by worker, of those that were sent any."""
    return {worker: found for worker in ("w0", "w1") if (found := cluster.rows(worker, m.COMPUTE))}


def test_a_worker_fetches_the_parts_that_it_lacks() -> None:
    cluster = spread(10_000)
    sent = rows(cluster)
    assert sent
    for worker, found in sent.items():
        own = int(worker[1])
        for key, _, _, _, _, deps, locations, flags in found:
            index = int(key[-1])
            assert flags & m.FLAG_ITEMS
            assert deps == (part(0, index), part(1, index))
            attempt = cluster.core.tasks[f"rows-{1 - own}"].attempt
            assert locations == ((part(1 - own, index), attempt, 10_000 // WIDTH, (f"tcp://w{1 - own}",)),)


def test_of_small_parts_it_fetches_all_at_once() -> None:
    cluster = spread(SMALL_PART * WIDTH)
    for worker, found in rows(cluster).items():
        other = f"rows-{1 - int(worker[1])}"
        assert [row[6] for row in found] == [
            ((other, cluster.core.tasks[other].attempt, SMALL_PART * WIDTH, found[0][6][0][3]),)
        ] * len(found)


def test_what_is_not_there_to_be_fetched_is_made_again() -> None:
    cluster = spread(10_000)
    runs = {worker: {row[0]: row[1] for row in found} for worker, found in rows(cluster).items()}
    worker, mine = next(iter(runs.items()))
    other = 1 - int(worker[1])
    lost = cluster.core.tasks[f"rows-{other}"]
    key, attempt = next(iter(mine.items()))
    cluster.say(worker, (m.UNFETCHED, ((key, attempt, ((lost.key, lost.attempt, f"tcp://w{other}"),)),)))
    assert cluster.status(lost.key) != "memory"
    for name, sent in runs.items():
        cluster.finish(name, {k: a for k, a in sent.items() if k != key})
    cluster.run_all()
    assert set(cluster.outcomes().values()) == {"memory"}
    cluster.say("c", (m.RELEASE, tuple(f"use-{i}" for i in range(WIDTH))))
    assert cluster.core.items == cluster.core.tasks == {}


def test_a_part_fits_where_the_whole_would_not() -> None:
    cluster = spread(10_000, memory_limit=10_001)
    cluster.run_all()
    assert cluster.outcomes() == {f"use-{i}": "memory" for i in range(WIDTH)}


def test_parts_of_what_nobody_knows_fail_the_task() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"use": (part(0, 0),)})
    assert cluster.outcomes() == {"use": "failed"}


@pytest.mark.parametrize("needed", [("rows-0", part(0, 1)), (part(0, 0), part(0, 1))])
def test_several_inputs_may_come_from_one_result(needed: tuple[Key, ...]) -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"rows-0": (), "use": needed})
    cluster.finish("w0", cluster.runs("w0"))
    assert [row[5] for row in cluster.rows("w0", m.COMPUTE)] == [needed]
    assert [dep.key for dep in cluster.core.tasks["use"].deps] == ["rows-0"]
