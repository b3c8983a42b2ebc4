"""Helpers for tests with real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest


def runs(pid: int | None) -> bool:
    """Whether a process exists and is no zombie that nobody has waited for."""
    if pid is None:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def until(condition: Callable[[], object], timeout: float = 15.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


@pytest.fixture(name="runs")
def _runs() -> Callable[[int | None], bool]:
    return runs


@pytest.fixture(name="until")
def _until() -> Callable[..., None]:
    return until
