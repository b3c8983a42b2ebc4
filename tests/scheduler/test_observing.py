"""The runs, for those who watch."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from myscheduler.scheduler.events import PeerJoined
from myscheduler.scheduler.observing import is_observed
from tests.support.scheduler import VERSIONS, Cluster


def test_observers_see_the_runs() -> None:
    cluster = Cluster(workers=1)
    cluster.step(PeerJoined("o", m.Role.OBSERVER, {"versions": VERSIONS}))
    cluster.say("o", (m.OBSERVE,))
    cluster.submit({"x": ()})
    cluster.finish("w0", cluster.runs("w0"), seconds=0.5)
    assert cluster.rows("o", m.EVENTS) == [("x", "w0", 0, 0.0, 0.5, True)]


def test_nothing_is_kept_for_those_who_look_on_without_the_runs() -> None:
    cluster = Cluster(workers=1)
    cluster.step(PeerJoined("o", m.Role.OBSERVER, {"versions": VERSIONS}))
    cluster.submit({"x": ()})
    cluster.run_all()
    assert not is_observed(cluster.core)
    assert cluster.core.runs == cluster.rows("o", m.EVENTS) == []
