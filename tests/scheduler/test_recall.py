"""Tasks that are asked back from one worker for another."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from tests.support.scheduler import Cluster


def test_tasks_sent_ahead_are_recalled_for_a_worker_that_idles() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({f"new-{i}": () for i in range(2)})  # of unknown length, so two are sent
    sent = cluster.runs("w0")
    assert len(sent) == 2
    cluster.worker("w1")
    assert not cluster.runs("w1")
    cluster.now += 0.06
    deadline = cluster.machine.next_deadline()
    assert deadline is not None
    cluster.step()
    [recalled] = cluster.rows("w0", m.RECALL)
    assert recalled == ("new-1", sent["new-1"])
    cluster.say("w0", (m.RECALLED, (recalled,)))
    assert list(cluster.runs("w1")) == ["new-1"]


def test_workers_far_away_have_longer_to_report_before_tasks_are_recalled() -> None:
    cluster = Cluster(workers=1)
    cluster.say("w0", (m.HEARTBEAT, {"round_trip": 0.1}))
    cluster.submit({f"new-{i}": () for i in range(2)})
    cluster.worker("w1")
    for seconds, recalled in ((0.06, 0), (0.1, 1)):
        cluster.now += seconds
        cluster.step()
        assert len(cluster.rows("w0", m.RECALL)) == recalled
