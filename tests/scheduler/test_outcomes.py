"""Answers of workers: each counts once, and only for the current attempt."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.snapshot import digest
from tests.support.scheduler import Cluster


def test_an_error_fails_all_that_wait_for_it_with_the_same_cause() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"a": (), "b": ("a",), "c": ("b",)})
    cluster.fail("w0", cluster.runs("w0"))
    failures = {row[0]: row for message in cluster.take("c") if message[0] == m.FAILED for row in message[1]}
    assert set(failures) == {"a", "b", "c"}
    assert {row[4] for row in failures.values()} == {"a"}
    assert {row[2] for row in failures.values()} == {"ValueError: no"}


def test_retries_are_used_up_before_a_task_fails() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()}, retries=2)
    for _ in range(2):
        cluster.fail("w0", cluster.runs("w0"))
        assert cluster.outcomes() == {}
    cluster.fail("w0", cluster.runs("w0"))
    assert cluster.outcomes() == {"x": "failed"}


def test_attempts_are_never_used_twice() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()}, retries=1)
    first = cluster.runs("w0")
    cluster.fail("w0", first)
    second = cluster.runs("w0")
    assert second["x"] > first["x"]
    cluster.finish("w0", first)
    assert cluster.outcomes() == {}
    cluster.finish("w0", second)
    assert cluster.outcomes() == {"x": "memory"}


def test_the_answer_of_another_worker_does_not_count() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": ()})
    [(mine, runs)] = [(ws, runs) for ws in ("w0", "w1") if (runs := cluster.runs(ws))]
    other = "w1" if mine == "w0" else "w0"
    cluster.finish(other, runs)
    assert cluster.outcomes() == {}
    cluster.finish(mine, runs)
    assert cluster.outcomes() == {"x": "memory"}


def test_replicas_are_known_and_freed_with_the_original() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": ()})
    [(owner, runs)] = [(ws, runs) for ws in ("w0", "w1") if (runs := cluster.runs(ws))]
    other = "w1" if owner == "w0" else "w0"
    cluster.finish(owner, runs)
    cluster.say(other, (m.REPLICAS, (("x", runs["x"]),)))
    assert cluster.call("who_has", ("x",)) == [("x", (f"tcp://{owner}", f"tcp://{other}"))]
    cluster.say("c", (m.RELEASE, ("x",)))
    cluster.linger()
    assert cluster.rows(owner, m.FREE) == cluster.rows(other, m.FREE) == [("x", runs["x"])]


def test_a_replica_of_forgotten_data_is_freed() -> None:
    cluster = Cluster(workers=1)
    cluster.say("w0", (m.REPLICAS, (("x", 5),)))
    assert cluster.rows("w0", m.FREE) == [("x", 5)]


def test_inputs_that_cannot_be_fetched_are_made_again() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"a": (), "b": ()})
    runs = {ws: cluster.runs(ws) for ws in ("w0", "w1")}
    for ws in runs:
        cluster.finish(ws, runs[ws])
    cluster.submit({"x": ("a", "b")})
    [(ws, again)] = [(ws, again) for ws in ("w0", "w1") if (again := cluster.runs(ws))]
    other = "w1" if ws == "w0" else "w0"
    [lost] = runs[other]
    cluster.say(ws, (m.UNFETCHED, (("x", again["x"], ((lost, runs[other][lost], f"tcp://{other}"),)),)))
    assert cluster.rows(other, m.FREE) == [(lost, runs[other][lost])]
    assert cluster.status("x") == "waiting"
    cluster.run_all()
    assert cluster.outcomes() == {"a": "memory", "b": "memory", "x": "memory"}


def test_inputs_that_never_arrive_end_in_an_error_not_in_a_loop() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"a": ()})
    cluster.run_all()
    cluster.submit({"x": ("a",)}, wants=["x"])
    for _ in range(5):
        for _ in range(3):  # make ``a`` again where needed, until ``x`` is sent
            sent = {ws: cluster.runs(ws) for ws in ("w0", "w1")}
            if any("x" in runs for runs in sent.values()):
                break
            for ws, runs in sent.items():
                cluster.finish(ws, runs)
        [(ws, attempt)] = [(ws, runs["x"]) for ws, runs in sent.items() if "x" in runs]
        a = cluster.core.tasks["a"]
        cluster.say(ws, (m.UNFETCHED, (("x", attempt, (("a", a.attempt, a.holders[0].address),)),)))
    [message] = [x for x in cluster.take("c") if x[0] == m.FAILED]
    assert "could not get its input 'a' in 5 attempts" in message[1][0][2]


def test_a_seceded_run_gives_its_slot_to_another() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"long": (), "next": ()})
    cluster.machine.core.prefixes["long"].duration = 10.0
    runs = cluster.runs("w0")
    cluster.say("w0", (m.SECEDED, (("long", runs["long"]),)))
    runs |= cluster.runs("w0")
    assert set(runs) == {"long", "next"}
    assert cluster.core.workers["w0"].sent == 1
    cluster.finish("w0", runs)
    assert cluster.outcomes() == {"long": "memory", "next": "memory"}


def test_every_answer_of_the_past_is_counted_and_changes_nothing() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": ()})
    (attempt,) = cluster.runs("w0").values()
    old = attempt + 100
    error = ("x", old, b"exc", "ValueError: no", "Traceback", 0, 0.0, 0.1)
    messages: list[tuple[Any, ...]] = [
        (m.RESULTS, (("x", old, 8, "int", None, 0, 0.0, 0.1),)),
        (m.ERRORS, (error,)),
        (m.OVERDUE, (error,)),
        (m.FINAL, (("x", old),)),
        (m.REPLICAS, (("x", old),)),
        (m.UNFETCHED, (("x", old, (("gone", 1, "tcp://w1"),)),)),
        (m.RECALLED, (("x", old),)),
        (m.SECEDED, (("x", old),)),
        (m.DATA, 99, (), ()),
    ]
    for worker in ("w0", "w1"):  # the one that has the task, and another
        for message in messages:
            before = digest(cluster.machine.tables())
            counted = cluster.core.stale["answers"]
            cluster.say(worker, message)
            assert cluster.core.stale["answers"] == counted + 1, message
            cluster.core.stale["answers"] = counted
            for ws in cluster.core.workers.values():
                ws.last_result = 0.0
            assert digest(cluster.machine.tables()) == before, message
    cluster.finish("w0", {"x": attempt})
    assert cluster.outcomes() == {"x": "memory"}


class TestRefusedCopies:
    """A worker keeps one copy of a key, the newest; the scheduler may believe in an older one again that has come back."""

    def held_twice(self) -> Cluster:
        """Of "x", both workers hold the first attempt."""
        cluster = Cluster(workers=2)
        cluster.submit({"x": ()})
        cluster.run_all()
        cluster.say("w1", (m.REPLICAS, (("x", cluster.core.tasks["x"].attempt),)))
        assert len(cluster.core.tasks["x"].holders) == 2
        return cluster

    @pytest.mark.parametrize("fetched", [False, True])
    def test_they_have_taken_the_place_of_older_ones(self, fetched: bool) -> None:
        cluster = self.held_twice()
        row = ("x", 99, 8, "int", None, 0, 0.0, 0.1)
        cluster.say("w1", (m.REPLICAS, (("x", 99),)) if fetched else (m.RESULTS, (row,)))
        assert [ws.name for ws in cluster.core.tasks["x"].holders] == ["w0"]
        assert cluster.rows("w1", m.FREE) == [("x", 99)]

    def test_what_is_lost_by_that_is_made_again(self) -> None:
        cluster = self.held_twice()
        for name in ("w0", "w1"):
            cluster.say(name, (m.REPLICAS, (("x", 99),)))
        assert cluster.status("x") == "assigned"

    def test_they_make_no_room_for_older_ones(self) -> None:
        cluster = self.held_twice()
        cluster.say("w1", (m.REPLICAS, (("x", 0),)))
        assert len(cluster.core.tasks["x"].holders) == 2
