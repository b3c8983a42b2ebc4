"""The table of legal moves and what follows from a move."""

from __future__ import annotations

import pytest

from myscheduler.base.errors import InternalError
from myscheduler.worker.state import MOVES, Task, TaskIndex, TaskState
from tests.worker.driver import task


def test_every_state_can_be_reached_and_left_except_the_ends() -> None:
    reachable = {state for targets in MOVES.values() for state in targets}
    assert reachable | {TaskState.NEW} == set(TaskState)
    assert [state for state, targets in MOVES.items() if not targets] == [TaskState.GONE]


def test_an_illegal_move_is_our_own_bug() -> None:
    index = TaskIndex(1)
    with pytest.raises(InternalError, match="<Task 'x' attempt 1 new> may not become running"):
        index.move(Task(task("x", 1)), TaskState.RUNNING)


def test_void_entries_of_the_queue_are_skipped() -> None:
    index = TaskIndex(1)
    first, second = Task(task("a", 1, rank=1)), Task(task("b", 2, rank=2))
    for entry in (second, first):
        index.move(entry, TaskState.READY)
    assert index.next_ready() is first
    index.move(first, TaskState.GONE)
    assert index.next_ready() is second
    assert index.counts[TaskState.READY] == 1


def test_no_task_is_next_while_the_executor_is_full() -> None:
    index = TaskIndex(1)
    running, ready = Task(task("a", 1)), Task(task("b", 2))
    for entry in (running, ready):
        index.move(entry, TaskState.READY)
    index.move(running, TaskState.RUNNING)
    assert index.next_ready() is None
    index.move(running, TaskState.SECEDED)
    assert index.next_ready() is ready
