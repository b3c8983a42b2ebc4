"""The same again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.limits import MIB
from myscheduler.protocol.codec import pack, unpack_all
from myscheduler.scheduler.journal import END, TABLES, TURN
from myscheduler.scheduler.replay import DivergedError, Replay
from tests.support.scheduler import Cluster


@pytest.fixture
def records() -> list[Any]:
    """A small journal."""
    cluster = Cluster(workers=2, journal=MIB)
    cluster.submit({"a": (), "b": ("a",), "c": ("a",)})
    for _ in range(5):
        cluster.now += 0.5
        cluster.step()
        for worker in ("w0", "w1"):
            cluster.finish(worker, cluster.runs(worker))
    return list(unpack_all(cluster.machine.journal.save(), "it"))


def play(records: list[Any]) -> Replay:
    replay = Replay(map(pack, records))
    for _ in replay:
        replay.check()
    return replay


def test_a_replay_tells_what_there_was(records: list[Any]) -> None:
    replay = play(records)
    assert replay.played == replay.turns == sum(record[0] == TURN for record in records)
    assert (replay.events, replay.messages) == (14, 11)
    assert replay.seconds == 2.5
    assert replay.verified == "by a digest of all tables"
    assert [ts.status.name for ts in replay.machine.core.tasks.values()] == ["MEMORY"] * 3


def test_it_can_be_stopped_early(records: list[Any]) -> None:
    replay = Replay(map(pack, records))
    assert next(seconds for seconds in replay if seconds >= 0.5) == 0.5
    assert replay.machine.core.tasks["b"].status.name == "WAITING"
    assert not replay.verified


def test_the_first_turn_that_differs_is_named(records: list[Any]) -> None:
    number = next(index for index, record in enumerate(records) if record[0] == TURN and record[2][0])
    op, now, marks, events = records[number]
    records[number] = (op, now, (marks[0] + 1, *marks[1:]), events)
    with pytest.raises(
        DivergedError, match=r"after turn 4 of \d+, 0\.000 s after the first, .*: attempt 1, .* instead of attempt 2"
    ):
        play(records)


def test_tables_that_differ_at_the_end_are_noticed(records: list[Any]) -> None:
    records[-1] = (END, records[-1][1], "0" * 32)
    with pytest.raises(DivergedError, match=r"after the last of \d+ turns the tables differ from what they were"):
        play(records)


def spoil(kind: str, value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda records: [value if record[0] == kind else record for record in records]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda records: records[1:], "this is no journal of a scheduler"),
        (lambda records: records[:-1], "has no end after 19 turns"),
        (spoil(TABLES, (TABLES,)), "does not begin with tables"),
        (spoil(END, ("what?",)), "holds a record that is none"),
        (
            lambda records: [(*r[:3], (("Surprise", 1),)) if r[0] == TURN else r for r in records],
            "turn 1 of .* cannot be read",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(records: list[Any], change: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        play(change(records))
