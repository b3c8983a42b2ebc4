"""Identities repeat with their seed and never otherwise."""

from __future__ import annotations

from myscheduler.base.ids import IdSource, seeded


def test_incarnations_are_sixteen_digits_and_differ() -> None:
    source = IdSource()
    found = {source.incarnation() for _ in range(1000)}
    assert len(found) == 1000
    assert all(len(x) == 16 and int(x, 16) >= 0 for x in found)


def test_seeded_sources_repeat() -> None:
    assert [IdSource(7).incarnation() for _ in range(2)] == [IdSource(7).incarnation()] * 2
    assert seeded(3).random() == seeded(3).random()
