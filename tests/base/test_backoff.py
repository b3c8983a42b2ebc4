"""Waits double up to the longest, keep within their jitter, and end with the patience."""

from __future__ import annotations

from itertools import pairwise

import pytest

from myscheduler.base.backoff import FIRST_S, LONGEST_S, Backoff


def waits(patience: float, chance: float) -> list[float]:
    """All waits, if every attempt fails at once."""
    now, found, backoff = 100.0, [], Backoff(100.0, patience)
    while (wait := backoff.next_wait(now, chance)) is not None:
        found.append(wait)
        now += wait
    assert now == pytest.approx(100.0 + patience)
    return found


def test_waits_double_up_to_the_longest() -> None:
    found = waits(30.0, 1.0)[:-1]  # the last is what is left
    assert found[0] == FIRST_S
    assert found[-1] == LONGEST_S
    assert all(later == min(2 * earlier, LONGEST_S) for earlier, later in pairwise(found))


def test_jitter_takes_away_up_to_half() -> None:
    assert waits(30.0, 0.0)[:8] == [wait / 2 for wait in waits(30.0, 1.0)[:8]]
    assert waits(30.0, 0.5)[0] == pytest.approx(0.75 * FIRST_S)


def test_there_is_one_attempt_at_the_deadline_and_none_after_it() -> None:
    backoff = Backoff(0.0, 1.0)
    assert backoff.next_wait(0.99, 1.0) == pytest.approx(0.01)
    assert backoff.next_wait(1.0, 1.0) is None


def test_without_patience_there_is_no_attempt() -> None:
    assert Backoff(5.0, 0.0).next_wait(5.0, 1.0) is None
