"""Peers with the right secret and wrong intentions: the scheduler drops them, and nobody else notices."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from tests.fuzz.hostile import Siege
from tests.support.scheduler import FUNCTION, Cluster

NOTHING = (None,) * (len(m.OPTION_FIELDS) - 5)
PLAIN = (0, 0, None, False, None, *NOTHING)


@pytest.mark.parametrize("seed", range(12))
def test_a_siege_changes_nothing_for_others(seed: int) -> None:
    siege = Siege(seed)
    for _ in range(400):
        siege.step()
    assert siege.messages > 100
    assert siege.dropped > 0
    assert siege.done > 0


def test_the_same_seed_gives_the_same_siege() -> None:
    sieges = [Siege(3), Siege(3)]
    for siege in sieges:
        for _ in range(200):
            siege.step()
    first, second = ((siege.messages, siege.dropped, siege.done, siege.core.last_attempt) for siege in sieges)
    assert first == second


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (("y", b"unknown", b"args", (), 1, 0), "calls a function that was not sent"),
        (("k" * 5000, FUNCTION, b"args", (), 1, 0), "is longer than 4096 bytes"),
        ((("k", None), FUNCTION, b"args", (), 1, 0), "holds None"),
    ],
)
@pytest.mark.parametrize("wants", [None, (0,)])
def test_a_graph_that_turns_bad_half_way_leaves_nothing(row: Any, text: str, wants: Any) -> None:
    cluster = Cluster(1)
    cluster.client("c2")
    good = ("x", FUNCTION, b"args", (), 0, 0)
    cluster.say("c2", (m.SUBMIT, 1, ((FUNCTION, b"code"),), (PLAIN,), (good, row), wants, False))
    assert text in cluster.disconnected["c2"]
    assert not cluster.core.tasks
    assert not cluster.core.functions
    cluster.submit({"z": ()})
    cluster.run_all()
    assert cluster.outcomes() == {"z": "memory"}


def test_what_is_said_after_goodbye_is_not_heard() -> None:
    cluster = Cluster(1)
    cluster.client("c2")
    row = ("x", FUNCTION, b"args", (), 0, 0)
    submit = (m.SUBMIT, 1, ((FUNCTION, b"code"),), (PLAIN,), (row,), None, False)
    cluster.say("c2", (m.GOODBYE, "bye"), submit)
    assert not cluster.core.tasks
    assert "c2" not in cluster.core.clients


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("place", (2, None, False, ("only one",))),
        ("place", (1, None, False, (None,))),
        ("place", (10**9, None, False, None)),
        ("wait_for_workers", (float("inf"),)),
        ("who_has", (7,)),
        ("explain", ()),
    ],
)
def test_calls_with_odd_arguments_drop_the_caller_only(method: str, arguments: Any) -> None:
    cluster = Cluster(1)
    cluster.client("c2")
    cluster.say("c2", (m.CALL, 1, method, arguments))
    assert f"{method}: bad arguments" in cluster.disconnected["c2"]
    assert set(cluster.core.clients) == {"c"}
    cluster.submit({"x": ()})
    cluster.run_all()
    assert cluster.outcomes() == {"x": "memory"}
