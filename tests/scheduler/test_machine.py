"""The way in: joining, leaving, refusing, what comes first."""

from __future__ import annotations

import pytest

from myscheduler.base.errors import InternalError
from myscheduler.protocol import messages as m
from myscheduler.scheduler.events import Disconnect, PeerJoined, Received, Send, Shutdown, Strays
from myscheduler.scheduler.snapshot import digest
from tests.support.scheduler import VERSIONS, Cluster


def test_a_joining_peer_is_welcomed_before_anything_else() -> None:
    cluster = Cluster(workers=0)
    cluster.submit({"x": ()})
    instructions = cluster.machine.handle(
        1.0,
        [
            PeerJoined(
                "w0",
                m.Role.WORKER,
                {
                    "versions": VERSIONS,
                    "name": "w0",
                    "address": "tcp://w0",
                    "host": "h",
                    "pid": 1,
                    "nthreads": 1,
                    "memory_limit": 0,
                    "resources": {},
                },
            )
        ],
    )
    [send] = [x for x in instructions if isinstance(x, Send) and x.peer == "w0"]
    assert [message[0] for message in send.messages] == [m.WELCOME, m.COMPUTE]
    assert send.messages[0][1]["epoch"] == 1


def test_another_version_is_refused_by_name() -> None:
    cluster = Cluster()
    cluster.step(PeerJoined("c2", m.Role.CLIENT, {"versions": VERSIONS | {"python": "3.9"}}))
    [(op, code, text)] = cluster.take("c2")
    assert (op, code) == (m.REFUSED, "version")
    assert text.startswith("this client runs python 3.9, the scheduler python 3.11")
    assert "c2" in cluster.disconnected


def test_a_second_worker_of_the_same_name_is_refused() -> None:
    cluster = Cluster(workers=1)
    hello = {"versions": VERSIONS, "name": "w0", "address": "tcp://x", "host": "h", "nthreads": 1}
    cluster.step(PeerJoined("w9", m.Role.WORKER, hello | {"memory_limit": 0, "resources": {}}))
    [(op, code, text)] = cluster.take("w9")
    assert (op, code) == (m.REFUSED, "name")
    assert "choose another --name" in text
    assert list(cluster.core.workers) == ["w0"]


def test_a_garbled_hello_disconnects() -> None:
    cluster = Cluster()
    cluster.step(PeerJoined("w9", m.Role.WORKER, {"versions": VERSIONS, "name": "w9"}))
    assert "HELLO lacks or garbles" in cluster.disconnected["w9"]
    assert not cluster.core.workers


def test_messages_of_strangers_change_nothing_and_are_counted() -> None:
    cluster = Cluster(workers=1)
    before = digest(cluster.machine.tables())
    cluster.step(Received("w7", ((m.RESULTS, ()),)))
    assert cluster.core.stale == {"answers": 0, "strangers": 1, "frames": 0}
    cluster.core.stale["strangers"] = 0
    assert digest(cluster.machine.tables()) == before


def test_frames_that_links_have_dropped_are_counted() -> None:
    cluster = Cluster(workers=1)
    cluster.step(Strays(2))
    cluster.step(Strays(1))
    assert cluster.call("scheduler_info")["stale"] == {"answers": 0, "strangers": 0, "frames": 3}
    assert cluster.call("overview")["stale"]["frames"] == 3


def test_handle_is_not_reentrant() -> None:
    machine = Cluster().machine
    machine._busy = True
    with pytest.raises(InternalError, match="while it was running"):
        machine.handle(0.0, [])


def test_a_peer_that_breaks_the_protocol_is_dropped_and_the_rest_goes_on() -> None:
    cluster = Cluster(workers=1)
    cluster.client("c2")
    row = ("x", b"unknown function", b"", (), 0, 0)
    cluster.say("c2", (m.SUBMIT, 1, (), ((0, 0, None, False, None, None),), (row,), None, False))
    assert "calls a function that was not sent" in cluster.disconnected["c2"]
    cluster.submit({"y": ()})
    cluster.run_all()
    assert cluster.outcomes() == {"y": "memory"}


def test_shutdown_stops_workers_then_the_scheduler() -> None:
    cluster = Cluster(workers=1)
    instructions = cluster.machine.handle(0.0, [Received("c", ((m.CALL, 1, "shutdown", ()),))])
    assert isinstance(instructions[-1], Shutdown)
    [stop] = [x for i in instructions if isinstance(i, Send) and i.peer == "w0" for x in i.messages]
    assert stop[:2] == (m.STOP, "close")
    assert not any(isinstance(i, Disconnect) for i in instructions)


def test_the_deadline_is_none_without_workers() -> None:
    assert Cluster().machine.next_deadline() is None
    assert Cluster(workers=1).machine.next_deadline() is not None
