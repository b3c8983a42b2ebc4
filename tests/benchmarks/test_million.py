"""The probe of event loops, and the report of a million tasks."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path

import pytest

from benchmarks import probe
from benchmarks.million import peak_bytes, reduce_by_pairs, report
from benchmarks.systems import load


async def test_the_probe_sees_the_longest_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(probe.FOLDER, str(tmp_path))
    try:
        probe.setup(None)
        await asyncio.sleep(0)
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        gc.collect()
        await asyncio.sleep(0)
        probe.teardown(tmp_path)
    finally:
        gc.callbacks.pop()
    [[turns]] = probe.load(tmp_path).values()
    assert turns.longest_ms >= 50
    assert turns.longest_busy_ms >= 50
    assert turns.longest_collecting_ms >= turns.longest_pause_ms > 0
    assert abs(turns.longest_at - time.time()) < 60


@pytest.mark.parametrize("leaves", [1, 2, 7, 8])
def test_all_leaves_are_added(leaves: int) -> None:
    system = load("futures")
    system.start()
    try:
        held, value = reduce_by_pairs(system, leaves)
    finally:
        system.stop()
    assert value == leaves * (leaves + 1) // 2
    assert sum(map(len, held)) == 2 * leaves - 1


def test_the_report_says_what_is_left_of_the_memory() -> None:
    memory = {"before": 30.0, "peak": 700.0, "after": 33.0}
    figures = {"tasks": 2e6, "seconds": 40.0, "release_s": 2.0, "began": 100.0, **memory}
    workers = [
        probe.Turns(longest_ms=5, longest_busy_ms=4),
        probe.Turns(7, 1, 112, longest_busy_ms=3, longest_pause_ms=2),
    ]
    lines = report(figures, {"worker": workers}).splitlines()
    assert lines[0] == "2,000,000 tasks in 40.0 s (50,000 tasks/s)"
    assert lines[1].endswith("33 MB 2.0 s after the release (1.10 times the start)")
    assert lines[2] == (
        "worker: longest turn 7 ms, 1 ms of them garbage collection, 12.0 s after the start; "
        "longest processor time of a turn 4 ms; longest garbage collection 2 ms"
    )


def test_the_peak_of_a_process_is_known() -> None:
    assert peak_bytes(1) > 0
