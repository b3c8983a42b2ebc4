"""Whom to ask for which inputs."""

from __future__ import annotations

from myscheduler.base.limits import MIB
from myscheduler.worker.events import Fetch
from myscheduler.worker.fetching import REQUEST_BYTES_MAX, Fetches
from myscheduler.worker.state import Task
from tests.worker.driver import FAR, FARTHER, HERE, LOCAL, task


def wanted(fetches: Fetches, *keys: str, nbytes: int = 8, holders: tuple[str, ...] = (FAR,)) -> Task:
    waiting = Task(task("waiting", 100))
    for key in keys:
        fetches.want(waiting, key, 1, nbytes, holders)
    fetches.check()
    return waiting


def test_one_request_per_peer_at_a_time() -> None:
    fetches = Fetches(HERE, 0)
    wanted(fetches, "a", "b")
    assert fetches.plan() == [Fetch(FAR, 1, (("a", 1), ("b", 1)))]
    wanted(fetches, "c")
    assert fetches.plan() == []
    asked = fetches.answered(FAR, 1)
    assert list(asked) == ["a", "b"]
    assert fetches.plan() == [Fetch(FAR, 2, (("c", 1),))]


def test_a_request_is_bounded_in_bytes_but_asks_for_one_input_at_least() -> None:
    fetches = Fetches(HERE, 0)
    wanted(fetches, "huge", nbytes=2 * REQUEST_BYTES_MAX)
    wanted(fetches, "a", "b", "c", nbytes=30 * MIB)
    assert fetches.plan() == [Fetch(FAR, 1, (("huge", 1),))]
    fetches.answered(FAR, 1)
    assert fetches.plan() == [Fetch(FAR, 2, (("a", 1), ("b", 1)))]


def test_holders_on_this_host_are_preferred() -> None:
    fetches = Fetches(HERE, 0)
    wanted(fetches, "a", "b", holders=(FAR, LOCAL, FARTHER))
    assert [request.address for request in fetches.plan()] == [LOCAL]


def test_large_inputs_are_spread_over_their_holders() -> None:
    fetches = Fetches(HERE, 0)
    wanted(fetches, "a", "b", "c", "d", nbytes=MIB, holders=(FAR, FARTHER))
    assert sorted(len(request.rows) for request in fetches.plan()) == [2, 2]


def test_workers_start_with_different_holders() -> None:
    first = set()
    for turn in (0, 1):
        fetches = Fetches(HERE, turn)
        wanted(fetches, "a", holders=(FAR, FARTHER))
        first.add(fetches.plan()[0].address)
    assert first == {FAR, FARTHER}


def test_a_want_is_forgotten_with_its_last_task_but_its_request_stays() -> None:
    fetches = Fetches(HERE, 0)
    waiting = wanted(fetches, "a")
    fetches.plan()
    fetches.leave(waiting)
    fetches.check()
    assert fetches.wants == {}
    again = wanted(fetches, "a")
    assert fetches.plan() == []
    assert list(fetches.answered(FAR, 1)) == ["a"]
    assert [request.rows for request in fetches.plan()] == [(("a", 1),)]
    assert fetches.arrived(fetches.wants["a"]) == [again]


def test_a_newer_attempt_replaces_the_want_and_keeps_who_waits() -> None:
    fetches = Fetches(HERE, 0)
    older, newer = Task(task("t", 100)), Task(task("u", 101))
    fetches.want(older, "a", 1, 8, (FAR,))
    want = fetches.want(newer, "a", 2, 8, (FARTHER,))
    fetches.check()
    assert fetches.plan() == [Fetch(FARTHER, 1, (("a", 2),))]
    assert fetches.arrived(want) == [older, newer]


def test_the_answer_to_another_request_is_nobodys() -> None:
    fetches = Fetches(HERE, 0)
    wanted(fetches, "a")
    fetches.plan()
    assert fetches.answered(FAR, 7) == {}
    assert fetches.answered(FARTHER, 1) == {}


def test_the_queue_of_an_unreachable_peer_is_emptied() -> None:
    fetches = Fetches(HERE, 0)
    wanted(fetches, "a")
    fetches.plan()
    wanted(fetches, "b", "c")
    fetches.answered(FAR, 1)
    queued = fetches.drain(FAR)
    assert [want.key for want in queued] == ["b", "c"]
    assert fetches.drain(FARTHER) == []
    assert not any(fetches.failed(want, FAR) for want in queued)


def test_while_a_peer_keeps_us_waiting_others_are_asked_for_what_they_have() -> None:
    fetches = Fetches(HERE, 0)
    waiting = wanted(fetches, "a", holders=(LOCAL, FAR))
    fetches.want(waiting, "b", 1, 8, (LOCAL,))
    assert fetches.plan() == [Fetch(LOCAL, 1, (("a", 1), ("b", 1)))]
    wanted(fetches, "c", holders=(LOCAL, FARTHER))
    fetches.ask_others(LOCAL, 7)
    assert fetches.plan() == []
    fetches.ask_others(LOCAL, 1)
    fetches.check()
    assert {request.address: request.rows for request in fetches.plan()} == {FAR: (("a", 1),), FARTHER: (("c", 1),)}
    assert fetches.arrived(fetches.wants["a"]) == []  # from the slow one, after all; "b" is still lacking
    assert list(fetches.answered(LOCAL, 1)) == ["b"]
    assert list(fetches.answered(FAR, 2)) == ["a"]


def test_a_peer_that_kept_us_waiting_is_asked_again_when_no_other_delivers() -> None:
    fetches = Fetches(HERE, 0)
    wanted(fetches, "a", holders=(LOCAL, FAR))
    fetches.plan()
    fetches.ask_others(LOCAL, 1)
    assert fetches.plan() == [Fetch(FAR, 2, (("a", 1),))]
    want = fetches.answered(FAR, 2)["a"]
    assert fetches.failed(want, FAR)
    assert fetches.plan() == []  # it has not answered yet
    fetches.answered(LOCAL, 1)
    assert fetches.plan() == [Fetch(LOCAL, 3, (("a", 1),))]
    fetches.check()


def test_what_was_moved_to_another_and_back_stands_in_the_queue_once() -> None:
    fetches = Fetches(HERE, 0)
    wanted(fetches, "a", "b", holders=(FAR,))
    fetches.plan()
    wanted(fetches, "c", holders=(FAR, FARTHER))
    assert fetches.plan() == [Fetch(FARTHER, 2, (("c", 1),))]  # the one with less to send
    fetches.ask_others(FARTHER, 2)
    fetches.check()
    assert list(fetches.peers[FAR].queue) == ["c"]
    fetches.ask_others(FAR, 1)
    fetches.check()
    assert list(fetches.peers[FAR].queue) == []
    assert list(fetches.peers[FARTHER].queue) == ["c"]
    fetches.answered(FARTHER, 2)
    fetches.ask_others(FAR, 1)
    assert [request.rows for request in fetches.plan()] == [(("c", 1),)]


def test_idle_peers_are_forgotten() -> None:
    fetches = Fetches(HERE, 0)
    wanted(fetches, "a")
    fetches.plan()
    fetches.answered(FAR, 1)
    fetches.arrived(fetches.wants["a"])
    fetches.plan()
    assert fetches.peers == {}
