"""How long tasks take: measured, or guessed until one has been."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from myscheduler.scheduler.durations import DURATION_FLOOR_S, UNKNOWN_DURATION_S, Durations
from myscheduler.scheduler.queues import OwnQueue


def _task(kind: Durations) -> Any:
    return SimpleNamespace(rank=0, estimate=0.0, ticket=0, prefix=kind)


def test_later_runs_count_for_more_than_earlier_ones() -> None:
    kind = Durations()
    assert (kind.duration, kind.estimate) == (None, UNKNOWN_DURATION_S)
    kind.observe(1.0)
    assert (kind.duration, kind.estimate) == (1.0, 1.0)
    kind.observe(2.0)
    assert kind.duration == kind.estimate == pytest.approx(1.2)


def test_no_estimate_is_below_the_floor() -> None:
    kind = Durations()
    kind.observe(0.0)
    assert (kind.duration, kind.estimate) == (0.0, DURATION_FLOOR_S)


def test_the_first_that_is_measured_corrects_what_queues_counted_on() -> None:
    kind, other = Durations(), Durations()
    queues = [OwnQueue(), OwnQueue()]
    tasks = [_task(kind) for _ in range(3)]
    for ticket, (queue, task) in enumerate(zip((queues[0], queues[0], queues[1]), tasks, strict=True), 1):
        queue.push(task, ticket)
    queues[0].push(_task(other), 9)
    queues[0].discard(tasks[0])
    assert [queue.work for queue in queues] == pytest.approx([2 * UNKNOWN_DURATION_S, UNKNOWN_DURATION_S])
    kind.observe(1.0)
    assert [queue.work for queue in queues] == pytest.approx([1.0 + UNKNOWN_DURATION_S, 1.0])
    assert not kind.guessed
    kind.observe(9.0)
    assert queues[1].work == 1.0
    late = _task(kind)
    queues[1].push(late, 10)
    assert queues[1].work == pytest.approx(1.0 + kind.estimate)
    assert [queues[1].pop() for _ in (queues[1].peek(), None)] == [tasks[2], late]
    assert (queues[1].length, queues[1].work) == (0, 0.0)
    assert list(other.guessed) == [queues[0]]
