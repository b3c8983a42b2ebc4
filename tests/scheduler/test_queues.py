"""Queues in rank order with lazy removal, and requirements."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from myscheduler.scheduler.durations import Durations
from myscheduler.scheduler.queues import OwnQueue, Queue, Requirement


def _task(rank: int) -> Any:
    return SimpleNamespace(rank=rank, ticket=0)


def test_the_lowest_rank_leaves_first_and_equal_ranks_in_order_of_entry() -> None:
    queue = Queue()
    tasks = [_task(2), _task(1), _task(2), _task(0)]
    for ticket, task in enumerate(tasks, 1):
        queue.push(task, ticket)
    assert queue.drain() == [tasks[3], tasks[1], tasks[0], tasks[2]]
    assert queue.length == 0


def test_discarded_tasks_are_passed_over() -> None:
    queue = Queue()
    tasks = [_task(rank) for rank in range(4)]
    for ticket, task in enumerate(tasks, 1):
        queue.push(task, ticket)
    queue.discard(tasks[0])
    queue.discard(tasks[2])
    assert queue.length == 2
    assert queue.peek() is tasks[1]
    assert queue.drain() == [tasks[1], tasks[3]]
    assert queue.peek() is None


def test_a_task_that_left_and_came_back_counts_once() -> None:
    queue = Queue()
    task = _task(5)
    queue.push(task, 1)
    queue.discard(task)
    task.rank = 9
    queue.push(task, 2)
    assert queue.drain() == [task]


def test_stale_entries_do_not_pile_up() -> None:
    queue = Queue()
    for ticket in range(1, 10_000):
        task = _task(ticket)
        queue.push(task, ticket)
        queue.discard(task)
    assert len(queue.line) + len(queue.heap) < 200


def test_whatever_the_order_tasks_leave_by_rank_and_then_by_ticket() -> None:
    ranks = [5, 6, 6, 1, 7, 3, 3, 8, 0, 6, 9]
    queue = Queue()
    tasks = [_task(rank) for rank in ranks]
    for ticket, task in enumerate(tasks, 1):
        queue.push(task, ticket)
    assert [task.rank for task in sorted(tasks, key=lambda task: (task.rank, task.ticket))] == sorted(ranks)
    for task in (tasks[3], tasks[7]):
        queue.discard(task)
    left = [task for task in tasks if task.ticket]
    assert sorted(ticket for _, ticket, _ in queue.entries()) == sorted(task.ticket for task in left)
    order = sorted(left, key=lambda task: (task.rank, task.ticket))
    assert queue.peek() is order[0]
    assert queue.drain() == order
    assert queue.length == 0


def test_the_queue_of_a_worker_knows_how_long_its_tasks_take() -> None:
    queue = OwnQueue()
    kind = Durations()
    kind.observe(0.5)
    tasks = [_task(rank) for rank in range(4)]
    for ticket, task in enumerate(tasks, 1):
        task.prefix = kind
        queue.push(task, ticket)
    queue.discard(tasks[2])
    assert queue.work == 1.5
    kind.observe(1.0)
    assert queue.drain() == [tasks[0], tasks[1], tasks[3]]
    assert queue.work == 0.0


def test_tasks_in_order_stand_in_line() -> None:
    queue = Queue()
    for ticket in range(1, 100):
        queue.push(_task(ticket), ticket)
    assert not queue.heap
    queue.push(_task(50), 100)
    assert len(queue.heap) == 1


def _worker(**resources: float) -> Any:
    return SimpleNamespace(
        name="alice", address="tcp://h:1", host="h", resources=resources, free_resources=dict(resources)
    )


def test_requirements_match_by_name_address_and_host() -> None:
    worker = _worker()
    assert all(Requirement((name,)).admits(worker) for name in ("alice", "tcp://h:1", "h"))
    assert not Requirement(("bob",)).admits(worker)
    assert Requirement(("bob",), loose=True).admits(worker)


def test_resources_are_taken_and_given_back_in_any_order() -> None:
    worker = _worker(GPU=1.0)
    requirement = Requirement(resources=(("GPU", 0.1),))
    for _ in range(10):
        assert requirement.fits_now(worker)
        requirement.take(worker)
    assert not requirement.fits_now(worker)
    for _ in range(10):
        requirement.give_back(worker)
    assert requirement.fits_now(worker)
    assert not Requirement(resources=(("TPU", 1),)).admits(worker)


def test_requirements_describe_themselves() -> None:
    assert Requirement().describe() == "any worker"
    assert Requirement(("a", "b"), True, (("GPU", 2),)).describe() == "workers a, b (preferred) and resources GPU=2"
