"""The worker's machine, event by event."""

from __future__ import annotations

import random

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.protocol import messages as m
from myscheduler.worker.events import (
    Beat,
    Bind,
    Cancel,
    Define,
    Drop,
    Execute,
    ExecutionEnded,
    Fetch,
    FetchEnded,
    FetchFailed,
    FetchStalled,
    NotStarted,
    Overdue,
    Seceded,
    Send,
    Serve,
    Stop,
    Stored,
    Tick,
)
from myscheduler.worker.state import TaskState
from tests.worker.driver import FAR, FARTHER, HERE, LOCAL, Driver, error, executed, of, result, sent, task


def test_a_task_without_inputs_runs_at_once() -> None:
    drive = Driver()
    row = task("x", 1)
    assert drive.receive((m.COMPUTE, ((b"f", b"code"),), (row,))) == [Define(((b"f", b"code"),)), Execute([row])]
    assert drive.end(result("x", 1)) == [Send((m.RESULTS, (result("x", 1),)))]
    assert drive.machine.data == {"x": (1, 8, "int")}
    assert drive.machine.tasks == drive.machine.runs == {}


def test_an_error_is_reported_and_leaves_nothing() -> None:
    drive = Driver()
    drive.compute(task("x", 1))
    assert drive.end(errors=(error("x", 1),)) == [Send((m.ERRORS, (error("x", 1),)))]
    assert drive.machine.data == drive.machine.tasks == {}


def test_ready_tasks_run_in_rank_order_and_equal_ranks_in_order_of_arrival() -> None:
    drive = Driver()
    assert executed(drive.compute(task("a", 1, rank=5))) == ["a"]
    assert drive.compute(task("b", 2, rank=7), task("c", 3, rank=6), task("d", 4, rank=6)) == []
    order = [executed(drive.end(result(key, attempt))) for key, attempt in (("a", 1), ("c", 3), ("d", 4))]
    assert order == [["c"], ["d"], ["b"]]


def test_unknown_tasks_fill_only_the_threads() -> None:
    drive = Driver(nthreads=2)
    assert executed(drive.compute(*(task(i, i) for i in range(1, 6)))) == [1, 2]
    assert (drive.machine.index.counts[TaskState.READY], drive.machine.executing) == (3, 2)


def test_short_tasks_are_handed_over_ahead_long_ones_are_not() -> None:
    drive = Driver(nthreads=1)
    drive.compute(task("s", 1, func=b"short"), task("l", 2, func=b"long"))
    drive.end(result("s", 1, duration=0.001))
    drive.end(result("l", 2, duration=1.0))
    assert executed(drive.compute(*(task(i, i, func=b"short") for i in range(10, 20)))) == [10, 11, 12, 13]
    assert executed(drive.compute(task("l", 30, rank=-1, func=b"long"))) == []
    assert executed(drive.end(*(result(i, i, duration=0.001) for i in range(10, 14)))) == ["l"]
    assert executed(drive.end(result("l", 30, duration=1.0))) == [14, 15, 16, 17]


def test_a_held_input_is_used() -> None:
    drive = Driver()
    drive.compute(task("x", 1))
    drive.end(result("x", 1))
    assert executed(drive.compute(task("y", 2, deps=("x",)))) == ["y"]


def test_a_held_input_is_used_even_if_the_scheduler_does_not_know_of_it() -> None:
    drive = Driver()
    drive(Stored([("x", 1, 8)]))
    assert executed(drive.compute(task("y", 2, deps=("x",), locations=(("x", 1, 8, (FAR,)),)))) == ["y"]


def test_a_missing_input_is_fetched_then_announced() -> None:
    drive = Driver()
    out = drive.compute(task("y", 2, deps=("x",), locations=(("x", 1, 8, (FAR,)),)))
    assert out == [Fetch(FAR, 1, (("x", 1),))]
    assert drive.machine.index.counts[TaskState.WAITING] == 1
    out = drive(FetchEnded(FAR, 1, [("x", 1, 8)], [], []))
    assert executed(out) == ["y"]
    assert sent(out, m.REPLICAS) == (("x", 1),)
    assert drive.machine.data == {"x": (1, 8, "")}


def test_an_older_copy_than_needed_is_replaced() -> None:
    drive = Driver()
    drive(Stored([("x", 1, 8)]))
    out = drive.compute(task("y", 3, deps=("x",), locations=(("x", 2, 8, (FAR,)),)))
    assert of(out, Fetch) == [Fetch(FAR, 1, (("x", 2),))]
    assert executed(drive(FetchEnded(FAR, 1, [("x", 2, 8)], [], []))) == ["y"]
    assert drive.machine.data["x"] == (2, 8, "")


def test_tasks_share_one_fetch() -> None:
    drive = Driver(nthreads=4)
    where = (("x", 1, 8, (FAR,)),)
    out = drive.compute(task("a", 2, deps=("x",), locations=where), task("b", 3, deps=("x",), locations=where))
    assert len(of(out, Fetch)) == 1
    assert drive.compute(task("c", 4, deps=("x",))) == []
    assert executed(drive(FetchEnded(FAR, 1, [("x", 1, 8)], [], []))) == ["a", "b", "c"]


def test_the_next_holder_is_asked_when_one_fails() -> None:
    drive = Driver()
    drive.compute(task("y", 2, deps=("x",), locations=(("x", 1, 8, (LOCAL, FAR, FARTHER)),)))
    first = of(drive(FetchFailed(LOCAL, 1)), Fetch)[0]
    second = of(drive(FetchEnded(first.address, 2, [], ["x"], [])), Fetch)[0]
    assert {first.address, second.address} == {FAR, FARTHER}
    out = drive(FetchFailed(second.address, 3))
    failed = tuple(("x", 1, address) for address in (LOCAL, first.address, second.address))
    assert sent(out, m.UNFETCHED) == (("y", 2, failed),)
    assert drive.machine.tasks == {}


def test_another_holder_is_asked_beside_one_that_is_slow() -> None:
    drive = Driver()
    drive.compute(task("y", 2, deps=("x",), locations=(("x", 1, 8, (LOCAL, FAR)),)))
    assert of(drive(FetchStalled(LOCAL, 1)), Fetch) == [Fetch(FAR, 2, (("x", 1),))]
    assert drive.machine.tasks["y"].missing
    drive(FetchEnded(LOCAL, 1, [("x", 1, 8)], [], []))
    assert not drive.machine.tasks["y"].missing
    assert of(drive(FetchEnded(FAR, 2, [("x", 1, 8)], [], [])), Drop) == []


def test_an_unfetchable_input_gives_back_every_task_that_needs_it_and_frees_their_other_wants() -> None:
    drive = Driver()
    drive.compute(
        task("a", 3, deps=("x", "z"), locations=(("x", 1, 8, (FAR,)), ("z", 2, 8, (FARTHER,)))),
        task("b", 4, deps=("x",), locations=(("x", 1, 8, (FAR,)),)),
    )
    out = drive(FetchFailed(FAR, 1))
    assert [row[:2] for row in sent(out, m.UNFETCHED)] == [("a", 3), ("b", 4)]
    assert drive.machine.fetches.wants == {}
    out = drive(FetchEnded(FARTHER, 2, [("z", 2, 8)], [], []))
    assert of(out, Drop) == [Drop([("z", 2)])]
    assert sent(out, m.REPLICAS) == ()


def test_an_input_nobody_holds_gives_the_task_back_at_once() -> None:
    drive = Driver()
    out = drive.compute(task("y", 2, deps=("x",), locations=(("x", 1, 8, ()),)))
    assert sent(out, m.UNFETCHED) == (("y", 2, (("x", 1, ""),)),)
    assert drive.machine.tasks == {}


def test_an_input_freed_before_the_start_gives_the_task_back_and_names_us() -> None:
    drive = Driver()
    drive(Stored([("x", 1, 8)]))
    out = drive.receive((m.COMPUTE, (), (task("y", 2, deps=("x",)),)), (m.FREE, (("x", 1),)))
    assert executed(out) == []
    assert sent(out, m.UNFETCHED) == (("y", 2, (("x", 0, HERE),)),)


def test_an_unreadable_input_fails_the_tasks_that_need_it() -> None:
    drive = Driver()
    drive.compute(task("y", 2, deps=("x",), locations=(("x", 1, 8, (FAR, FARTHER)),)))
    asked = next(iter(drive.machine.fetches.peers))
    out = drive(FetchEnded(asked, 1, [], [], [("x", b"exception", "text", "traceback", 5.0)]))
    assert sent(out, m.ERRORS) == (("y", 2, b"exception", "text", "traceback", -1, 5.0, 0.0),)
    assert drive.machine.tasks == drive.machine.fetches.wants == {}


def test_recall_gives_back_what_has_not_been_handed_over() -> None:
    drive = Driver()
    drive.compute(task("a", 1), task("b", 2), task("c", 3, deps=("x",), locations=(("x", 9, 8, (FAR,)),)))
    out = drive.receive((m.RECALL, (("a", 1), ("b", 2), ("c", 3), ("d", 4), ("b", 77))))
    assert out == [Cancel([("a", 1)], running=False), Send((m.RECALLED, (("b", 2), ("c", 3))))]
    assert list(drive.machine.tasks) == ["a"]


def test_a_recalled_task_still_in_the_executors_queue_is_given_back() -> None:
    drive = Driver()
    drive.compute(task("a", 1), task("b", 2))
    drive.receive((m.RECALL, (("a", 1),)))
    out = drive(NotStarted([("a", 1)]))
    assert sent(out, m.RECALLED) == (("a", 1),)
    assert executed(out) == ["b"]


def test_a_recalled_task_that_runs_is_not_answered_but_its_result_comes() -> None:
    drive = Driver()
    drive.compute(task("a", 1))
    drive.receive((m.RECALL, (("a", 1),)))
    assert sent(drive.end(result("a", 1)), m.RESULTS) == (result("a", 1),)


def test_free_forgets_a_copy_but_not_one_of_another_attempt() -> None:
    drive = Driver()
    drive(Stored([("x", 2, 8)]))
    assert drive.receive((m.FREE, (("x", 1), ("x", 3), ("y", 1)))) == []
    assert drive.machine.data == {"x": (2, 8, "")}
    assert drive.receive((m.FREE, (("x", 2),))) == [Drop([("x", 2)])]
    assert drive.machine.data == {}


def test_free_of_a_run_cancels_it_and_answers_when_it_has_ended() -> None:
    drive = Driver()
    drive.compute(task("x", 1))
    assert drive.receive((m.FREE, (("x", 1),))) == [Cancel([("x", 1)], running=True)]
    assert drive.compute(task("y", 2)) == []
    out = drive.end(result("x", 1))
    assert of(out, Drop) == [Drop([("x", 1)])]
    assert sent(out, m.RESULTS) == ()
    assert sent(out, m.RECALLED) == (("x", 1),)
    assert executed(out) == ["y"]


def test_free_of_a_task_that_waits_gives_it_back() -> None:
    drive = Driver()
    drive.compute(task("y", 2, deps=("x",), locations=(("x", 1, 8, (FAR,)),)))
    assert sent(drive.receive((m.FREE, (("y", 2),))), m.RECALLED) == (("y", 2),)
    assert drive.machine.tasks == drive.machine.fetches.wants == {}


def test_a_newer_attempt_supersedes_an_older_one() -> None:
    drive = Driver(nthreads=2)
    drive.compute(task("x", 1))
    out = drive.compute(task("x", 2))
    assert of(out, Cancel) == [Cancel([("x", 1)], running=True)]
    assert executed(out) == ["x"]
    assert drive.end(result("x", 1)) == [Drop([("x", 1)]), Send((m.RECALLED, (("x", 1),)))]
    assert sent(drive.end(result("x", 2)), m.RESULTS) == (result("x", 2),)
    assert drive.machine.data == {"x": (2, 8, "int")}


def test_an_older_attempt_than_the_known_one_is_given_back_and_a_repeated_one_ignored() -> None:
    drive = Driver()
    drive.compute(task("x", 2))
    assert drive.compute(task("x", 1), task("x", 2)) == [Send((m.RECALLED, (("x", 1),)))]
    assert drive.machine.tasks["x"].attempt == 2


def test_a_late_error_of_a_superseded_attempt_is_answered_as_given_back() -> None:
    drive = Driver(nthreads=2)
    drive.compute(task("x", 1))
    drive.compute(task("x", 2))
    assert drive.end(errors=(error("x", 1),)) == [Send((m.RECALLED, (("x", 1),)))]
    assert drive.machine.tasks["x"].attempt == 2


def test_a_result_older_than_the_held_copy_is_dropped() -> None:
    drive = Driver()
    drive.compute(task("x", 1))
    drive(Stored([("x", 5, 8)]))
    assert drive.end(result("x", 1)) == [Drop([("x", 1)]), Send((m.RECALLED, (("x", 1),)))]
    assert drive.machine.data == {"x": (5, 8, "")}


def test_what_a_newer_attempt_takes_the_place_of_is_dropped_before_anything_runs_on_it() -> None:
    drive = Driver()
    drive(Stored([("x", 1, 8)]))
    drive.compute(task("x", 2), task("y", 3, rank=1, deps=("x",)))
    out = drive.end(result("x", 2))
    assert [type(instruction) for instruction in out] == [Drop, Execute, Send]
    assert of(out, Drop) == [Drop([("x", 1)])]
    assert of(drive(Stored([("x", 4, 8)])), Drop) == [Drop([("x", 2)])]


def test_scattered_data_older_than_the_held_copy_is_dropped() -> None:
    drive = Driver()
    drive(Stored([("x", 5, 8)]))
    assert drive(Stored([("x", 4, 8)])) == [Drop([("x", 4)])]
    assert drive.machine.data == {"x": (5, 8, "")}


def test_scattered_data_and_own_results_satisfy_wants() -> None:
    drive = Driver(nthreads=3)
    drive.compute(
        task("a", 1),
        task("b", 2, deps=("a",), locations=(("a", 1, 8, (FAR,)),)),
        task("d", 4, deps=("c",), locations=(("c", 3, 8, (FAR,)),)),
    )
    assert executed(drive(Stored([("c", 3, 8)]))) == ["d"]
    assert executed(drive.end(result("a", 1))) == ["b"]
    out = drive(FetchEnded(FAR, 1, [("a", 1, 8), ("c", 3, 8)], [], []))
    assert (sent(out, m.REPLICAS), of(out, Drop)) == ((), [])


def test_a_seceded_task_frees_its_slot_until_it_rejoins() -> None:
    drive = Driver()
    drive.compute(task("a", 1), task("b", 2))
    out = drive(Seceded([("a", 1, True)]))
    assert executed(out) == ["b"]
    assert sent(out, m.SECEDED) == (("a", 1),)
    assert drive(Seceded([("a", 1, False)])) == []
    drive.compute(task("c", 3))
    assert executed(drive.end(result("b", 2))) == []
    assert executed(drive.end(result("a", 1))) == ["c"]


def test_only_free_interrupts_a_seceded_task() -> None:
    drive = Driver()
    drive.compute(task("a", 1))
    drive(Seceded([("a", 1, True)]))
    assert drive.receive((m.RECALL, (("a", 1),))) == [Cancel([("a", 1)], running=False)]
    assert drive.receive((m.FREE, (("a", 1),))) == [Cancel([("a", 1)], running=True)]
    assert drive.end(errors=(error("a", 1),)) == [Send((m.RECALLED, (("a", 1),)))]


def test_a_coroutine_that_was_freed_before_it_began_is_interrupted_when_it_does() -> None:
    drive = Driver()
    drive.compute(task("a", 1))
    drive.receive((m.FREE, (("a", 1),)))
    assert drive(Seceded([("a", 1, True)])) == [Cancel([("a", 1)], running=True), Send((m.SECEDED, (("a", 1),)))]


def test_copies_are_acquired_for_the_scheduler() -> None:
    drive = Driver()
    drive(Stored([("held", 2, 8)]))
    out = drive.receive((m.ACQUIRE, (("x", 1, 8, (FAR,)), ("held", 2, 8, (FAR,)), ("gone", 3, 8, ()))))
    assert of(out, Fetch) == [Fetch(FAR, 1, (("x", 1),))]
    assert sent(out, m.REPLICAS) == (("held", 2),)
    assert sent(out, m.UNFETCHED) == (("gone", 3, (("gone", 3, ""),)),)
    assert sent(drive(FetchEnded(FAR, 1, [("x", 1, 8)], [], [])), m.REPLICAS) == (("x", 1),)


def test_a_copy_that_cannot_be_acquired_is_reported() -> None:
    drive = Driver()
    drive.receive((m.ACQUIRE, (("x", 1, 8, (FAR,)), ("y", 2, 8, (FAR,)))))
    out = drive(FetchEnded(FAR, 1, [], ["x"], [("y", b"exception", "text", "traceback", 5.0)]))
    assert sent(out, m.UNFETCHED) == (("y", 2, (("y", 2, FAR),)), ("x", 1, (("x", 1, FAR),)))
    assert drive.machine.fetches.wants == {}


def test_a_copy_being_acquired_serves_tasks_and_stays_wanted_without_them() -> None:
    drive = Driver()
    drive.receive((m.ACQUIRE, (("x", 1, 8, (FAR,)),)))
    drive.compute(task("y", 2, deps=("x",), locations=(("x", 1, 8, (FAR,)),)))
    drive.receive((m.RECALL, (("y", 2),)))
    assert sent(drive(FetchEnded(FAR, 1, [("x", 1, 8)], [], [])), m.REPLICAS) == (("x", 1),)


def test_gather_is_served() -> None:
    assert Driver().receive((m.GATHER, 7, (("x", 1),))) == [Serve(7, (("x", 1),))]


def test_stop_and_goodbye_end_this_life() -> None:
    drive = Driver()
    assert drive.receive((m.STOP, "restart", "asked")) == [Stop("restart", "asked")]
    assert drive.receive((m.GOODBYE, "bye")) == [Stop("close", "the scheduler left: bye")]


def test_heartbeats_follow_the_interval_of_the_welcome() -> None:
    drive = Driver()
    assert drive.machine.next_deadline() is None
    assert drive(Tick()) == []
    drive.receive((m.WELCOME, {"heartbeat_s": 10.0}))
    assert drive.machine.next_deadline() == drive.now
    assert drive(Tick()) == [Beat(0, 0, paused=False)]
    assert drive.machine.next_deadline() == drive.now + 10.0
    assert drive(Tick()) == []


def test_results_are_cut_into_messages_of_bounded_length() -> None:
    drive = Driver(nthreads=600)
    drive.compute(*(task(i, i) for i in range(1, 513)))
    drive.compute(*(task(i, i) for i in range(513, 601)))
    out = drive.end(*(result(i, i) for i in range(1, 601)))
    assert [len(send.message[1]) for send in of(out, Send)] == [512, 88]


def test_a_message_that_means_nothing_here_is_the_peers_fault() -> None:
    with pytest.raises(ProtocolError, match="REPLY means nothing to a worker"):
        Driver().receive((m.REPLY, 1, True, None))


def test_terms_go_to_the_executor_before_their_run_and_are_forgotten_with_it() -> None:
    drive = Driver()
    terms = (("x", 1, 2.5, None), ("y", 2, None, b"classes"), ("z", 3, 1.0, None))
    out = drive.receive((m.TERMS, terms), (m.COMPUTE, (), (task("x", 1), task("y", 2, rank=1), task("z", 3, rank=2))))
    assert [type(instruction) for instruction in out] == [Bind, Execute]
    assert of(out, Bind) == [Bind([("x", 1, 2.5, None)])]
    drive.receive((m.RECALL, (("z", 3),)))
    assert list(drive.machine.terms) == [2]
    assert of(drive.end(result("x", 1)), Bind) == [Bind([("y", 2, None, b"classes")])]
    assert drive.machine.terms == {}


def test_terms_of_a_run_that_is_out_of_date_are_dropped() -> None:
    drive = Driver()
    drive.compute(task("x", 5))
    drive.receive((m.TERMS, (("x", 4, 1.0, None),)), (m.COMPUTE, (), (task("x", 4),)))
    assert drive.machine.terms == {}


def test_a_final_error_is_announced_before_the_error() -> None:
    drive = Driver(nthreads=2)
    drive.compute(task("x", 1), task("y", 2))
    out = drive(ExecutionEnded([], [error("x", 1)], [("x", 1), ("y", 2)]))
    assert [send.message[0] for send in of(out, Send)] == [m.FINAL, m.ERRORS]
    assert sent(out, m.FINAL) == (("x", 1), ("y", 2))
    drive.receive((m.FREE, (("y", 2),)))
    out = drive(ExecutionEnded([], [error("y", 2)], [("y", 2)]))
    assert [send.message[0] for send in of(out, Send)] == [m.RECALLED]


def test_an_overdue_run_is_told_at_once_and_given_back_when_it_ends() -> None:
    drive = Driver()
    drive.compute(task("x", 1), task("y", 2, rank=1))
    out = drive(Overdue(error("x", 1), final=True))
    assert [send.message for send in of(out, Send)] == [(m.FINAL, (("x", 1),)), (m.OVERDUE, (error("x", 1),))]
    assert drive(Overdue(error("x", 1), final=True)) == []
    assert executed(drive.compute(task("x", 3))) == []  # the slot is occupied
    out = drive.end(result("x", 1))
    assert sent(out, m.RECALLED) == (("x", 1),)
    assert of(out, Drop) == [Drop([("x", 1)])]
    assert [row[1] for instruction in of(out, Execute) for row in instruction.rows] == [3]


def test_a_run_that_ended_just_before_it_was_overdue_has_ended() -> None:
    drive = Driver()
    drive.compute(task("x", 1))
    drive.end(result("x", 1))
    assert drive(Overdue(error("x", 1), final=False)) == []


def test_an_input_that_cannot_be_read_is_no_error_that_was_chosen() -> None:
    drive = Driver()
    rows = tuple(
        task(key, attempt, deps=("d",), locations=(("d", 1, 10, (FAR,)),)) for key, attempt in (("x", 2), ("y", 3))
    )
    out = drive.receive((m.TERMS, (("x", 2, None, b"classes"), ("y", 3, 1.0, None))), (m.COMPUTE, (), rows))
    [fetch] = of(out, Fetch)
    out = drive(FetchEnded(FAR, fetch.request, [], [], [("d", b"exception", "text", "traceback", 0.0)]))
    assert sent(out, m.FINAL) == (("x", 2),)
    assert [row[0] for row in sent(out, m.ERRORS)] == ["x", "y"]


@pytest.mark.parametrize("seed", range(20))
def test_random_histories_keep_the_indexes_right_and_lose_no_task(seed: int) -> None:
    """Every attempt ends in exactly one answer."""
    rng = random.Random(seed)
    drive = Driver(nthreads=rng.randint(1, 3))
    attempts = iter(range(1, 10**6))
    at_executor: list[tuple] = []
    seceded: list[tuple] = []
    asked: list[Fetch] = []
    owed: list[int] = []
    answers: list[int] = []

    def perform(out: list) -> None:
        for instruction in out:
            if isinstance(instruction, Execute):
                at_executor.extend(instruction.rows)
            elif isinstance(instruction, Fetch):
                asked.append(instruction)
        for op in (m.RESULTS, m.ERRORS, m.UNFETCHED, m.RECALLED):
            answers.extend(row[1] for row in sent(out, op))

    def compute() -> None:
        rows = []
        for _ in range(rng.randint(1, 4)):
            key, attempt = f"t{rng.randint(0, 9)}", next(attempts)
            names = sorted({f"d{rng.randint(0, 5)}" for _ in range(rng.randint(0, 2))})
            places = tuple((n, 1, 10, tuple(rng.sample([LOCAL, FAR, FARTHER], rng.randint(0, 3)))) for n in names)
            owed.append(attempt)
            rows.append(task(key, attempt, rng.randint(0, 3), tuple(names), places, rng.choice([b"f", b"g"])))
        terms = tuple((*row[:2], 1.0, None) for row in rows if rng.random() < 0.5)
        perform(drive.receive((m.TERMS, terms), (m.COMPUTE, (), tuple(rows))))

    def overdue() -> None:
        if at_executor:
            perform(drive(Overdue(error(*rng.choice(at_executor)[:2]), rng.random() < 0.5)))

    def end() -> None:
        if at_executor:
            row = at_executor.pop(rng.randrange(len(at_executor)))
            if rng.random() < 0.3 and row[:2] not in seceded:
                seceded.append(row[:2])
                at_executor.append(row)
                perform(drive(Seceded([(*row[:2], True)])))
            elif rng.random() < 0.7:
                perform(drive.end(result(row[0], row[1], duration=rng.choice([1e-4, 1.0]))))
            else:
                perform(drive.end(errors=(error(row[0], row[1]),)))

    def fetched() -> None:
        if asked:
            fetch = asked.pop(rng.randrange(len(asked)))
            if rng.random() < 0.2:
                perform(drive(FetchStalled(fetch.address, fetch.request)))
            if rng.random() < 0.2:
                perform(drive(FetchFailed(fetch.address, fetch.request)))
            else:
                got = [(key, attempt, 10) for key, attempt in fetch.rows if rng.random() < 0.7]
                missing = [key for key, attempt in fetch.rows if (key, attempt, 10) not in got]
                perform(drive(FetchEnded(fetch.address, fetch.request, got, missing, [])))

    def free() -> None:
        key = rng.choice([f"d{rng.randint(0, 5)}", f"t{rng.randint(0, 9)}"])
        known = drive.machine.tasks.get(key)
        attempt = known.attempt if known else drive.machine.data.get(key, (1, 0))[0]
        caught(drive.receive((m.FREE, ((key, attempt),))))

    def recall() -> None:
        rows = tuple((t.key, t.attempt) for t in drive.machine.tasks.values() if rng.random() < 0.3)
        caught(drive.receive((m.RECALL, rows)))

    def caught(out: list) -> None:
        perform(out)
        for cancel in of(out, Cancel):
            queued = [copy for copy in cancel.copies if rng.random() < 0.5 and copy not in seceded]
            at_executor[:] = [row for row in at_executor if (row[0], row[1]) not in queued]
            perform(drive(NotStarted(queued)))

    for _ in range(300):
        rng.choice([compute, end, end, fetched, fetched, free, recall, overdue])()
    while at_executor or asked:
        end()
        fetched()
    assert drive.machine.tasks == drive.machine.runs == drive.machine.fetches.wants == {}
    assert sorted(answers) == owed
