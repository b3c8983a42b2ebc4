"""Values that go through the scheduler."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from tests.support.scheduler import Cluster


def test_a_fetch_is_passed_on_and_answered() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.outcomes()
    cluster.say("c", (m.FETCH, 7, ("x",)))
    [(_, number, rows)] = cluster.take("w0")
    assert rows == (("x", cluster.core.tasks["x"].attempt),)
    cluster.say("w0", (m.DATA, number, (("x", b"value"),), ()))
    assert cluster.take("c") == [(m.DATA, 7, (("x", b"value"),), ())]


def test_a_fetch_waits_for_what_is_not_done() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.say("c", (m.FETCH, 7, ("x", "unknown")))
    cluster.run_all()
    cluster.outcomes()
    [(_, number, _)] = [x for x in cluster.take("w0") if x[0] == m.GATHER]
    cluster.say("w0", (m.DATA, number, (("x", b"value"),), ()))
    [(op, request, rows, missing)] = cluster.take("c")
    assert (op, request, rows) == (m.DATA, 7, (("x", b"value"),))
    assert missing == (("unknown", "the scheduler does not know 'unknown' (any more)"),)


def test_a_fetch_of_a_failed_key_says_why() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.fail("w0", cluster.runs("w0"))
    cluster.outcomes()
    cluster.say("c", (m.FETCH, 7, ("x",)))
    assert cluster.take("c") == [(m.DATA, 7, (), (("x", "ValueError: no"),))]


def test_a_fetch_survives_the_worker_it_was_passed_to() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.outcomes()
    cluster.say("c", (m.FETCH, 7, ("x",)))
    cluster.lose("w0")
    cluster.worker("w1")
    cluster.run_all()
    cluster.outcomes()
    [(_, number, _)] = [x for x in cluster.take("w1") if x[0] == m.GATHER]
    cluster.say("w1", (m.DATA, number, (("x", b"value"),), ()))
    assert cluster.take("c") == [(m.DATA, 7, (("x", b"value"),), ())]


def test_a_fetch_whose_holders_are_all_away_goes_on_with_a_new_copy() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.outcomes()
    [holder] = cluster.core.tasks["x"].holders
    other = "w1" if holder.incarnation == "w0" else "w0"
    cluster.cut(holder.incarnation)
    cluster.say("c", (m.FETCH, 7, ("x",)))
    assert not cluster.rows(other, m.GATHER)
    cluster.say(other, (m.REPLICAS, (("x", cluster.core.tasks["x"].attempt),)))
    [(_, number, _)] = [x for x in cluster.take(other) if x[0] == m.GATHER]
    cluster.say(other, (m.DATA, number, (("x", b"value"),), ()))
    assert cluster.take("c") == [(m.DATA, 7, (("x", b"value"),), ())]


def test_what_nobody_wants_any_more_is_made_once_for_a_fetch() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": (), "y": ("x",)})
    cluster.run_all()
    cluster.say("c", (m.CANCEL, 1, ("x",), False, "changed my mind"))
    cluster.linger()
    cluster.take("c")
    cluster.take("w0")
    cluster.say("c", (m.FETCH, 7, ("x",)))
    runs = cluster.runs("w0")
    assert list(runs) == ["x"]
    cluster.finish("w0", runs)
    cluster.linger()
    [gather, free] = [x for x in cluster.take("w0") if x[0] in (m.GATHER, m.FREE)]
    assert free == (m.FREE, (("x", runs["x"]),))
    cluster.say("w0", (m.DATA, gather[1], (("x", b"value"),), ()))
    assert cluster.take("c") == [(m.DATA, 7, (("x", b"value"),), ())]


def test_a_fetch_that_waits_is_answered_when_the_cluster_is_restarted() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.cut("w0")
    cluster.say("c", (m.FETCH, 7, ("x",)))
    cluster.take("c")
    cluster.say("c", (m.CALL, 8, "restart", ()))
    reason = "the scheduler does not know 'x' (any more)"
    assert (m.DATA, 7, (), (("x", reason),)) in cluster.take("c")


def test_answers_nobody_waits_for_are_dropped() -> None:
    cluster = Cluster(workers=1)
    cluster.say("w0", (m.DATA, 99, (), ()))
    assert cluster.core.stale["answers"] == 1


def test_the_fetches_of_a_client_end_with_it() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.say("c", (m.FETCH, 7, ("x",)))
    cluster.lose("c")
    assert cluster.machine.relay.waiting == {}
    assert cluster.machine.relay.asked == {}


def test_too_large_a_fetch_is_a_protocol_error() -> None:
    cluster = Cluster()
    cluster.say("c", (m.FETCH, 7, tuple(range(513))))
    assert "FETCH of 513 keys" in cluster.disconnected["c"]
