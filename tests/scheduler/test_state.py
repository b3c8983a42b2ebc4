"""The one place where a status changes, and the records around it."""

from __future__ import annotations

import pytest

from myscheduler.base.errors import InternalError
from myscheduler.scheduler.queues import Requirement
from myscheduler.scheduler.state import (
    FORGOTTEN,
    MEMORY,
    MOVES,
    PREFIXES_MAX,
    RELEASED,
    Prefix,
    Status,
    Tables,
    TaskState,
)


def _task(tables: Tables, key: str, deps: tuple[TaskState, ...] = ()) -> TaskState:
    ts = TaskState(key, tables.prefix_of(key), None, b"", deps, 0, Requirement(), 0)
    tables.add_task(ts)
    return ts


def test_moves_outside_of_the_table_are_refused() -> None:
    tables = Tables()
    for old in Status:
        for new in Status:
            ts = _task(tables, f"{old.name}-{new.name}")
            ts.status = old
            if new in MOVES[old]:
                tables.move(ts, new)
                assert ts.status is new
            else:
                with pytest.raises(InternalError, match=f"may not move from {old.name} to {new.name}"):
                    tables.move(ts, new)


def test_every_status_can_be_reached_and_forgetting_is_final() -> None:
    reached = {RELEASED}
    while more := {new for old in reached for new in MOVES[old]} - reached:
        reached |= more
    assert reached == set(Status)
    assert MOVES[FORGOTTEN] == ()
    assert all(FORGOTTEN in targets for status, targets in MOVES.items() if status is not FORGOTTEN)


def test_counts_follow_the_moves() -> None:
    tables = Tables()
    ts = _task(tables, "inc-1")
    tables.move(ts, MEMORY)
    assert tables.totals[MEMORY] == tables.prefixes["inc"].counts[MEMORY] == 1
    assert tables.totals[RELEASED] == 0


def test_forgotten_dependents_are_compacted_away() -> None:
    tables = Tables()
    parent = _task(tables, "parent")
    keep = _task(tables, "keep", (parent,))
    for index in range(1000):
        child = _task(tables, f"child-{index}", (parent,))
        tables.move(child, FORGOTTEN)
        parent.drop_dependent()
    assert list(parent.each_dependent()) == [keep]
    assert parent.dependents is not None
    assert len(parent.dependents) < 40


def test_durations_are_averaged_with_a_bias_to_the_recent() -> None:
    prefix = Prefix("x")
    prefix.observe(1.0)
    assert prefix.duration == 1.0
    for _ in range(30):
        prefix.observe(3.0)
    assert prefix.duration == pytest.approx(3.0, rel=0.01)


def test_kinds_of_tasks_without_tasks_are_forgotten_when_there_are_too_many() -> None:
    tables = Tables()
    alive = _task(tables, "alive")
    for index in range(2 * PREFIXES_MAX):
        tables.prefix_of(f"kind{index}")
    assert len(tables.prefixes) <= PREFIXES_MAX
    assert alive.prefix is tables.prefixes["alive"]
