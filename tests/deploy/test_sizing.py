"""What is filled in when the user leaves it open."""

from __future__ import annotations

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.deploy import sizing
from myscheduler.deploy.sizing import Sizing, size, split_cores

GIB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "cpu_count", lambda: 16)
    monkeypatch.setattr(sizing, "system_memory", lambda: 64 * GIB)


@pytest.mark.parametrize("cores", range(1, 129))
def test_all_cores_are_used_exactly(cores: int) -> None:
    processes, threads = split_cores(cores)
    assert processes * threads == cores
    assert processes >= threads


@pytest.mark.parametrize(
    ("n_workers", "threads", "processes", "expected"),
    [
        (None, None, True, (4, 4)),
        (None, None, False, (1, 16)),
        (2, None, True, (2, 8)),
        (3, None, True, (3, 6)),
        (32, None, True, (32, 1)),
        (None, 8, True, (2, 8)),
        (None, 32, True, (1, 32)),
        (None, 2, False, (1, 2)),
        (2, 1, True, (2, 1)),
        (0, None, True, (0, 1)),
    ],
)
def test_defaults(n_workers: int | None, threads: int | None, processes: bool, expected: tuple[int, int]) -> None:
    found = size(n_workers, threads, None, processes=processes)
    assert (found.workers, found.threads) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("auto", 16 * GIB),
        (None, 0),
        (0, 0),
        ("2 GiB", 2 * GIB),
        (12345678, 12345678),
        (0.25, 16 * GIB),
        (1.0, 64 * GIB),
        (2.0e9, 2_000_000_000),
    ],
)
def test_memory(limit: float | str | None, expected: int) -> None:
    assert size(4, 4, limit, processes=True) == Sizing(4, 4, expected)


def test_a_share_is_never_more_than_the_machine() -> None:
    assert size(1, 99, "auto", processes=True).memory_limit == 64 * GIB


@pytest.mark.parametrize(
    ("n_workers", "threads", "text"),
    [
        (-1, None, "n_workers=-1: it must be a whole number, at least 0"),
        (1.5, None, "n_workers=1.5"),
        (True, None, "n_workers=True"),
        (1, 0, "threads_per_worker=0: it must be a whole number, at least 1"),
    ],
)
def test_nonsense(n_workers: int, threads: int | None, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        size(n_workers, threads, None, processes=True)
