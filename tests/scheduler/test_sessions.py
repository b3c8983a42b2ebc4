"""A client whose link breaks finds everything as if it had not, if it comes back in time; if not, its wants are released."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.protocol import stream as s
from myscheduler.scheduler import sessions
from myscheduler.scheduler.events import PeerJoined, PeerLeft, Received
from tests.support.scheduler import VERSIONS, Cluster


class Away(Cluster):
    """A cluster whose client ``c2`` can resume; what it was sent is ``sent["c2"]``."""

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers)
        self.received = 0
        self.hello(0)
        [welcome] = self.take("c2")
        assert welcome[1]["grace_s"] == sessions.GRACE_S

    def hello(self, epoch: int = 1, received: int | None = None) -> None:
        resume = (epoch, self.received if received is None else received)
        self.step(PeerJoined("c2", m.Role.CLIENT, {"versions": VERSIONS, "resume": resume}))

    def heard(self) -> list[Any]:
        """What arrived at ``c2`` since the last call."""
        messages = self.take("c2")
        self.received += sum(message[0] not in s.UNCOUNTED for message in messages)
        return messages

    def wait(self, seconds: float) -> None:
        """Turn as often as the machine asks for."""
        end = self.now + seconds
        while (deadline := self.machine.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            for name in self.core.workers:
                self.say(name, (m.HEARTBEAT, {}))
            self.step()
        self.now = end
        self.step()

    @property
    def is_known(self) -> bool:
        return "c2" in self.core.clients


@pytest.fixture
def cluster() -> Away:
    return Away()


def test_outcomes_of_a_client_that_is_away_are_kept_for_it(cluster: Away) -> None:
    cluster.submit({"x": (), "y": ()}, client="c2")
    cluster.lose("c2")
    cluster.run_all()
    assert cluster.heard() == []
    assert cluster.status("x") == "memory"
    cluster.hello()
    welcome, *news = cluster.heard()
    assert (welcome[0], welcome[1]["received"]) == (m.WELCOME, 1)
    assert [row[0] for message in news for row in message[1]] == ["x", "y"]


def test_news_on_their_way_when_the_link_broke_are_sent_again(cluster: Away) -> None:
    cluster.submit({"x": ()}, client="c2")
    cluster.run_all()
    lost = cluster.take("c2")  # never arrived
    cluster.lose("c2")
    cluster.hello()
    assert cluster.heard()[1:] == [message for message in lost if message[0] != m.ACK]


def test_news_that_arrived_are_not_sent_again(cluster: Away) -> None:
    cluster.submit({"x": ()}, client="c2")
    cluster.run_all()
    cluster.heard()
    cluster.lose("c2")
    cluster.hello()
    assert [message[0] for message in cluster.heard()] == [m.WELCOME]


def test_news_of_the_turn_in_which_the_link_breaks_are_kept(cluster: Away) -> None:
    cluster.submit({"x": ()}, client="c2")
    [(key, attempt)] = cluster.runs("w0").items()
    results = (m.RESULTS, ((key, attempt, 8, "int", b"v", 0, 0.0, 0.1),))
    cluster.step(Received("w0", (results,)), PeerLeft("c2", "reset"))
    assert cluster.heard() == []
    cluster.hello()
    assert cluster.heard()[1] == (m.IN_MEMORY, (("x", 8, "int", b"v", None),))


def test_a_client_that_stays_away_is_released_after_the_grace_and_refused_then(cluster: Away) -> None:
    cluster.submit({"x": ()}, client="c2")
    cluster.lose("c2")
    cluster.wait(29.0)
    assert cluster.status("x") == "assigned"
    cluster.wait(2.0)
    assert (cluster.is_known, cluster.status("x")) == (False, "unknown")
    assert cluster.disconnected["c2"] == "it was away for 30 s"
    cluster.hello()
    [refused] = cluster.heard()
    assert refused == (m.REFUSED, "session", "it has released this client's futures; it keeps them for 30 s")


def test_the_grace_ends_even_if_there_is_no_worker() -> None:
    cluster = Away(workers=0)
    cluster.submit({"x": ()}, client="c2")
    cluster.lose("c2")
    cluster.wait(31.0)
    assert not cluster.is_known


def test_a_scheduler_that_was_stopped_does_not_count_its_absence(cluster: Away) -> None:
    cluster.lose("c2")
    cluster.now += 1000.0
    cluster.step()
    assert cluster.is_known
    cluster.hello()
    assert cluster.heard()[0][0] == m.WELCOME


@pytest.mark.parametrize("how", ["goodbye", "planned", "rejected", "nonsense"])
def test_who_does_not_mean_to_come_back_is_released_at_once(cluster: Away, how: str) -> None:
    cluster.submit({"x": ()}, client="c2")
    if how == "goodbye":
        cluster.say("c2", (m.GOODBYE, "done"))
    elif how == "nonsense":
        cluster.say("c2", (m.ACK, 77))
        assert cluster.disconnected["c2"] == "77 messages were acknowledged of 0 that were sent, after 0 before"
    else:
        cluster.step(PeerLeft("c2", "reset", planned=how == "planned", rejected=how == "rejected"))
    assert (cluster.is_known, cluster.status("x")) == (False, "unknown")


def test_who_cannot_resume_is_released_at_once() -> None:
    cluster = Cluster(1)
    cluster.submit({"x": ()})
    cluster.lose("c")
    assert cluster.status("x") == "unknown"
    cluster.client("c")
    cluster.say("c", (m.ACK, 0))
    assert cluster.disconnected["c"] == "ACK from a client that cannot resume"


def test_other_clients_notice_nothing(cluster: Away) -> None:
    cluster.submit({"x": (), "y": ()}, client="c")
    cluster.submit({"x": (), "z": ()}, client="c2")
    cluster.lose("c2")
    cluster.wait(31.0)
    assert (cluster.status("x"), cluster.status("z")) == ("assigned", "unknown")
    cluster.run_all()
    assert cluster.outcomes("c") == {"x": "memory", "y": "memory"}


@pytest.mark.parametrize(
    ("epoch", "received", "text"),
    [
        (9, 0, "it was started anew meanwhile and knows nothing of what was submitted before"),
        (1, 5, "it cannot go on behind message 5"),
    ],
)
def test_impossible_returns_are_refused_and_spoil_nothing(cluster: Away, epoch: int, received: int, text: str) -> None:
    cluster.submit({"x": ()}, client="c2")
    cluster.lose("c2")
    cluster.hello(epoch, received)
    assert cluster.take("c2") == [(m.REFUSED, "session", text)]
    cluster.hello()
    assert cluster.heard()[0][0] == m.WELCOME


@pytest.mark.parametrize("role", [m.Role.CLIENT, m.Role.WORKER, m.Role.OBSERVER])
def test_nobody_else_may_take_the_name_of_one_who_is_away(cluster: Away, role: m.Role) -> None:
    cluster.lose("c2")
    cluster.step(PeerJoined("c2", role, {"versions": VERSIONS, "name": "other", "resume": (0, 0)}))
    assert cluster.take("c2") == [(m.REFUSED, "name", "a client with the incarnation c2 is known already")]
    assert cluster.is_known


def test_requests_are_answered_after_the_return(cluster: Away) -> None:
    cluster.submit({"x": ()}, client="c2")
    cluster.say("c2", (m.FETCH, 50, ("x",)), (m.CALL, 51, "wait_for_workers", (2,)))
    cluster.say("c2", (m.CALL, 52, "retire_workers", (("w0",),)))
    cluster.lose("c2")
    cluster.worker("w1")
    cluster.worker("w2")
    cluster.run_all()
    [(number, rows)] = [message[1:] for message in cluster.take("w0") if message[0] == m.GATHER]
    cluster.say("w0", (m.DATA, number, tuple((key, b"v") for key, _ in rows), ()))
    assert [fetch.request for fetch in cluster.machine.relay.parked] == [50]
    cluster.lose("w0")
    cluster.run_all()
    cluster.hello()
    [(number, rows)] = [message[1:] for ws in ("w1", "w2") for message in cluster.take(ws) if message[0] == m.GATHER]
    holder = cluster.core.tasks["x"].holders[0].incarnation
    cluster.say(holder, (m.DATA, number, tuple((key, b"v") for key, _ in rows), ()))
    answers = {message[1]: message[2:] for message in cluster.heard() if message[0] in (m.REPLY, m.DATA)}
    assert answers == {50: ((("x", b"v"),), ()), 51: (True, 2), 52: (True, ("w0",))}


def test_fetches_of_a_client_that_does_not_come_back_are_forgotten(cluster: Away) -> None:
    cluster.say("c2", (m.FETCH, 50, ("unknown",)))
    cluster.lose("c2")
    cluster.submit({"x": ()}, client="c")
    cluster.wait(31.0)
    assert cluster.machine.relay.parked == []


def test_what_was_received_is_acknowledged_soon_or_with_the_next_news(cluster: Away) -> None:
    cluster.say("c2", (m.WANT, ("unknown",)))
    assert m.ACK not in [message[0] for message in cluster.heard()]
    due = cluster.machine.next_deadline()
    assert due is not None
    assert due <= cluster.now + s.ACK_AFTER_S
    cluster.wait(s.ACK_AFTER_S)
    assert cluster.heard() == [(m.ACK, 1)]
    cluster.say("c2", *[(m.RELEASE, ("unknown",))] * s.ACK_EVERY)
    assert cluster.heard() == [(m.ACK, 1 + s.ACK_EVERY)]
    cluster.say("c2", (m.RELEASE, ("unknown",)))
    cluster.lose("c2")
    cluster.wait(1.0)
    assert cluster.heard() == []


def test_more_news_than_are_kept_end_the_session(cluster: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "BACKLOG_MAX", 19)
    cluster.submit({f"x{index}": () for index in range(20)}, client="c2")
    cluster.lose("c2")
    cluster.run_all()
    cluster.wait(0.5)
    assert cluster.disconnected["c2"] == "it is away, and more than 19 news wait for it"
    assert not cluster.is_known


def test_who_never_acknowledges_is_sent_away(cluster: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "UNACKNOWLEDGED_MAX", 10)
    for request in range(11):
        cluster.say("c2", (m.CALL, request, "nthreads", ()))
    cluster.wait(0.5)
    assert cluster.disconnected["c2"] == "it has not acknowledged the last 11 messages"


def test_a_client_that_is_away_is_not_counted_as_connected(cluster: Away) -> None:
    assert cluster.call("scheduler_info")["clients"] == 2
    cluster.lose("c2")
    assert cluster.call("scheduler_info")["clients"] == 1
