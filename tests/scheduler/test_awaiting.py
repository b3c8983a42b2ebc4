"""Scattered data that went with a worker: waited for while that may come back, and not a moment longer."""

from __future__ import annotations

import pytest

from myscheduler.protocol import messages as m
from tests.support.scheduler import Cluster

LEASE_S = 300.0


class Scene:
    """Data with ``w0``, a task that needs it, and ``w0`` lost without a word."""

    def __init__(self, lease: float = LEASE_S) -> None:
        self.cluster = Cluster()
        self.cluster.worker("w0", lease=lease)
        self.attempt = self.cluster.scatter("data", "w0")
        self.cluster.submit({"y": ("data",)})
        self.cluster.lose("w0")
        self.cluster.worker("w1")

    def statuses(self) -> list[str]:
        return [self.cluster.status(key) for key in ("data", "y")]


def test_it_is_there_again_with_its_worker() -> None:
    scene = Scene()
    cluster = scene.cluster
    assert scene.statuses() == ["retrying", "waiting"]
    cluster.come_back("w0", [("data", scene.attempt, 8, "")], lease=LEASE_S)
    assert scene.statuses() == ["memory", "assigned"]
    assert cluster.core.awaited == {}
    assert cluster.core.tasks["data"].type_name == "list"
    cluster.run_all()
    assert cluster.outcomes() == {"data": "memory", "y": "memory"}


def test_explain_says_for_whom_it_waits() -> None:
    assert Scene().cluster.call("explain", "data") == (
        "'data' was scattered to worker w0, which has lost its connection and may come back within 300 s. Nobody else has "
        "the data, so it is waited for."
    )


def test_it_is_gone_when_the_lease_ends() -> None:
    scene = Scene()
    cluster = scene.cluster
    cluster.now += LEASE_S - 0.1
    cluster.step()
    assert scene.statuses() == ["retrying", "waiting"]
    cluster.now += 0.1
    cluster.step()
    assert cluster.outcomes() == {"data": "failed", "y": "failed"}
    cluster.submit({"z": ("data",)})
    assert cluster.status("z") == "erred"


@pytest.mark.parametrize("how", ["its death is told of", "another takes its place", "it comes back without the data"])
def test_it_is_gone_when_there_is_no_hope(how: str) -> None:
    scene = Scene()
    cluster = scene.cluster
    if how == "its death is told of":
        cluster.call("worker_died", "w0", 1, "crash", "it crashed", ())
    elif how == "another takes its place":
        cluster.worker("w2", name="w0")
    else:
        cluster.come_back("w0", lease=LEASE_S)
    assert cluster.outcomes() == {"data": "failed", "y": "failed"}
    assert "LostDataError: the scattered data 'data' is gone" in cluster.call("explain", "data")


def test_it_is_gone_at_once_if_the_death_was_told_of_before() -> None:
    cluster = Cluster()
    cluster.worker("w0", lease=LEASE_S)
    cluster.scatter("data", "w0")
    cluster.call("worker_died", "w0", 1, "crash", "it crashed", ())
    cluster.cut("w0")
    assert cluster.status("data") == "erred"


def test_a_worker_without_a_lease_is_not_waited_for() -> None:
    assert Scene(lease=0.0).statuses() == ["erred", "erred"]


def test_data_that_nobody_needs_now_is_waited_for_when_somebody_does() -> None:
    cluster = Cluster()
    cluster.worker("w0", lease=LEASE_S)
    cluster.worker("w1")
    attempt = cluster.scatter("data", "w0")
    cluster.submit({"y": ("data",)})
    cluster.run_all()
    cluster.say("c", (m.RELEASE, ("data",)))
    [ws] = cluster.core.tasks["y"].holders
    if ws.name == "w0":
        cluster.say("w1", (m.REPLICAS, (("y", cluster.core.tasks["y"].attempt),)))
    cluster.lose("w0")
    assert cluster.status("data") == "released"
    cluster.submit({"z": ("data",)})
    assert cluster.status("data") == "retrying"
    cluster.come_back("w0", [("data", attempt, 8, "")], lease=LEASE_S)
    assert cluster.status("data") == "memory"


def test_it_is_forgotten_with_its_last_future() -> None:
    cluster = Cluster()
    cluster.worker("w0", lease=LEASE_S)
    attempt = cluster.scatter("data", "w0")
    cluster.lose("w0")
    assert cluster.status("data") == "retrying"
    cluster.say("c", (m.RELEASE, ("data",)))
    assert (cluster.status("data"), cluster.core.awaited) == ("unknown", {})
    cluster.come_back("w0", [("data", attempt, 8, "")], lease=LEASE_S)
    assert cluster.rows("w0", m.FREE) == [("data", attempt)]


def test_who_scatters_it_again_need_not_wait() -> None:
    scene = Scene()
    cluster = scene.cluster
    again = cluster.scatter("data", "w1")
    assert scene.statuses() == ["memory", "assigned"]
    cluster.come_back("w0", [("data", scene.attempt, 8, "")], lease=LEASE_S)
    assert cluster.rows("w0", m.FREE) == [("data", scene.attempt)]
    assert cluster.core.tasks["data"].attempt == again
    assert cluster.core.awaited == {}
