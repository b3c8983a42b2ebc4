"""A message that cannot be encoded harms only those whom it was for."""

from __future__ import annotations

from typing import Any

from myscheduler.protocol import messages as m
from myscheduler.protocol.codec import pack, unpack
from myscheduler.scheduler.events import PeerJoined
from myscheduler.scheduler.journal import _encode_event, decode_event
from myscheduler.scheduler.unsendable import describe, halves
from tests.support.scheduler import VERSIONS, Cluster

WHY = "REPLY cannot be encoded: too large"


def unsendable(cluster: Cluster, peer: str, index: int = 0) -> Any:
    """One of the messages that were sent last was left out."""
    messages = cluster.take(peer)
    event = describe(peer, messages, index, WHY)
    assert decode_event(unpack(pack(_encode_event(event)))) == event  # the journal can note it
    cluster.sent[peer] = [*messages[:index], *messages[index + 1 :]]
    cluster.step(event)
    return messages[index]


def test_a_request_is_answered_in_words() -> None:
    cluster = Cluster(1)
    cluster.say("c", (m.CALL, 1, "nthreads", ()))
    unsendable(cluster, "c")
    assert cluster.take("c") == [(m.REPLY, 1, False, ("usage", f"the answer cannot be sent: {WHY}"))]


def test_values_are_missing() -> None:
    cluster = Cluster(1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.take("c")
    cluster.say("c", (m.FETCH, 7, ("x", "y")))
    [(_, number, rows)] = cluster.take("w0")
    cluster.say("w0", (m.DATA, number, ((rows[0][0], b"v"),), ()))
    unsendable(cluster, "c")
    [(_, request, found, missing)] = cluster.take("c")
    assert (request, found) == (7, ())
    assert missing == tuple((key, f"the values cannot be sent together: {WHY}") for key in ("x", "y"))


def test_it_does_not_count_for_a_client_that_resumes() -> None:
    cluster = Cluster(1)
    cluster.step(PeerJoined("c2", m.Role.CLIENT, {"versions": VERSIONS, "resume": (0, 0)}))
    cluster.take("c2")
    cluster.say("c2", (m.CALL, 1, "nthreads", ()))
    stream = cluster.core.clients["c2"].stream
    assert stream is not None
    assert stream.sent == 1
    unsendable(cluster, "c2")
    assert stream.sent == 1  # the refusal instead
    assert [message[2] for message in cluster.take("c2")] == [False]


def test_tasks_that_cannot_be_sent_together_go_in_halves() -> None:
    cluster = Cluster(1, nthreads=3)
    cluster.submit({"x": (), "y": (), "z": ()})
    [whole] = cluster.take("w0")
    first, second = halves(whole)
    assert [[row[0] for row in message[2]] for message in (first, second)] == [["x"], ["y", "z"]]
    assert (first[1], second[1]) == (whole[1], ())
    assert [halves(message) for message in (first, (m.REPLY, 1, True, ()))] == [[], []]


def test_a_task_that_cannot_be_sent_alone_fails() -> None:
    cluster = Cluster(1, nthreads=3)
    cluster.submit({"x": (), "y": (), "z": ()})
    [whole] = cluster.sent["w0"]
    cluster.sent["w0"] = halves(whole)
    unsendable(cluster, "w0")
    assert cluster.outcomes() == {"x": "failed"}
    failure = cluster.core.tasks["x"].failure
    assert failure is not None
    assert failure.text == f"UsageError: task 'x' cannot be sent to a worker: {WHY}"
    cluster.run_all()
    assert cluster.outcomes() == {"y": "memory", "z": "memory"}


def test_functions_that_did_not_arrive_are_sent_again() -> None:
    cluster = Cluster(1)
    cluster.submit({"x": ()})
    message = unsendable(cluster, "w0")
    cluster.submit({"y": ()})
    [again] = cluster.sent["w0"]
    assert again[1] == message[1] != ()


def test_a_run_that_was_given_up_meanwhile_is_settled() -> None:
    cluster = Cluster(1)
    cluster.submit({"x": ()})
    event = describe("w0", cluster.take("w0"), 0, WHY)
    cluster.say("c", (m.RELEASE, ("x",)))
    ws = cluster.core.workers["w0"]
    assert ws.abandoned
    cluster.step(event)
    assert not ws.abandoned


def test_peers_that_are_gone_are_not_missed() -> None:
    cluster = Cluster(0)
    for op in (m.COMPUTE, m.REPLY, m.DATA, m.IN_MEMORY):
        cluster.step(describe("w9", [(op, 1, (), ())] if op != m.COMPUTE else [(op, (), ())], 0, WHY))
    assert cluster.sent == {}
