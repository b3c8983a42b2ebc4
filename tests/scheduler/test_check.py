"""The check itself: it must notice what is broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from myscheduler.scheduler.check import check
from tests.support.scheduler import FUNCTION, Cluster


def _forget_holder(cluster: Cluster) -> None:
    cluster.core.tasks["x"].holders = ()


def _miscount_need(cluster: Cluster) -> None:
    cluster.core.tasks["x"].needed_by += 1


def _miscount_bytes(cluster: Cluster) -> None:
    cluster.core.workers["w0"].nbytes += 1


def _drift(cluster: Cluster) -> None:
    cluster.core.workers["w0"].occupancy += 1.0


def _miscount_status(cluster: Cluster) -> None:
    cluster.core.totals[4] += 1


def _lose_room(cluster: Cluster) -> None:
    cluster.core.idle.clear()


def _forget_name(cluster: Cluster) -> None:
    cluster.core.workers_at["w0"].clear()


def _forget_who_knows(cluster: Cluster) -> None:
    cluster.core.functions[FUNCTION].workers.clear()


def _lose_sight(cluster: Cluster) -> None:
    ws = cluster.core.workers["w0"]
    cluster.submit({"y": (), "z": ()})
    assert ws.sent > ws.nthreads
    cluster.core.ahead.clear()


@pytest.mark.parametrize(
    "damage",
    [
        _forget_holder,
        _miscount_need,
        _miscount_bytes,
        _drift,
        _miscount_status,
        _lose_room,
        _forget_name,
        _forget_who_knows,
        _lose_sight,
    ],
)
def test_damage_is_noticed(damage: Callable[[Cluster], None]) -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    check(cluster.core)
    damage(cluster)
    with pytest.raises(AssertionError):
        check(cluster.core)
