"""A client dials again with growing waits; a connection that breaks at once, again and again, is none."""

from __future__ import annotations

import pytest

from myscheduler.client.comeback import STABLE_S, Comeback


def test_waits_grow_until_the_patience_is_used_up() -> None:
    comeback = Comeback()
    comeback.lost(5.0, 0, 1.0)
    assert [comeback.next_wait(now, 1.0) for now in (5.0, 5.2, 5.5)] == [0.05, 0.1, 0.2]
    assert comeback.next_wait(5.75, 1.0) == 0.25
    assert comeback.next_wait(6.0, 1.0) is None


@pytest.mark.parametrize(
    ("lasted", "progress", "since"),
    [(0.5, 0, 10.0), (STABLE_S, 0, 10.0), (0.5, 1, 11.5), (STABLE_S + 0.1, 0, 21.1)],
    ids=["at once", "at the limit", "something got through", "it lasted"],
)
def test_the_patience_begins_anew_only_if_there_was_a_connection_between(
    lasted: float, progress: int, since: float
) -> None:
    comeback = Comeback()
    comeback.lost(10.0, 0, 30.0)
    assert comeback.next_wait(10.0, 0.0) == 0.025
    comeback.back(11.0)
    comeback.lost(11.0 + lasted, progress, 30.0)
    assert comeback.since == pytest.approx(since)
    assert comeback.next_wait(11.0 + lasted, 0.0) == (0.025 if comeback.since > 10.0 else 0.05)
