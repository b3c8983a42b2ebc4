from __future__ import annotations

from tests.fuzz.mutation import Mutator


def test_the_same_seed_gives_the_same_cases() -> None:
    one, other, third = (Mutator([b"abc", b"0123456789"], seed) for seed in (1, 1, 2))
    cases = [one.next() for _ in range(100)]
    assert cases == [other.next() for _ in range(100)]
    assert cases != [third.next() for _ in range(100)]
    assert len(set(cases)) > 50
