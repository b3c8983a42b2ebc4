"""The guard of the cost per task: counts are repeatable, and the part that has become dearer is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import check
from benchmarks.check import RECORDED, VERSION, compare, count, main
from benchmarks.parts import PARTS
from myscheduler.client.api import submitting
from myscheduler.scheduler.core import Core
from myscheduler.worker.server import context, executor

TASKS = 256


@pytest.fixture(scope="module")
def usual() -> check.Counts:
    return count(TASKS)


def slowed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, and half a microsecond to a microsecond more."""

    def slow(*args: Any) -> Any:
        for _ in range(30):
            pass
        return function(*args)

    return slow


def test_counts_are_the_same_again(usual: check.Counts) -> None:
    again = count(TASKS)
    for part, names in usual.items():
        assert again[part] == pytest.approx(names, rel=0.002)
    assert all(n > 0 for names in usual.values() for n in names.values())
    assert context.current_run.get() is None  # counting leaves no trace in our thread


@pytest.mark.parametrize(
    ("part", "place", "name"),
    [
        ("client", submitting, "dumps_call"),
        ("scheduler", Core, "finish"),
        ("worker", executor, "describe_result"),
    ],
)
def test_a_microsecond_more_is_found_and_the_part_named(
    usual: check.Counts, monkeypatch: pytest.MonkeyPatch, part: str, place: Any, name: str
) -> None:
    monkeypatch.setattr(place, name, slowed(getattr(place, name)))
    [line] = compare(usual, count(TASKS))
    assert line.startswith(f"{part}: bytecodes per task have grown by ")


def test_another_call_of_c_is_found(usual: check.Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Core.finish

    def slow(core: Core, *args: Any) -> None:
        sorted(range(100))
        finish(core, *args)

    monkeypatch.setattr(Core, "finish", slow)
    assert [line.partition(" per task")[0] for line in compare(usual, count(TASKS))] == ["scheduler: C calls"]


def test_the_program_tells_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "check.json"
    cheap = {part: dict.fromkeys(check.COUNTS, 100.0) for part in PARTS}
    monkeypatch.setattr(check, "count", lambda: cheap)
    assert main(["--file", str(file)]) == 2
    assert f"nothing is recorded for Python {VERSION} (only none)" in capsys.readouterr().out
    assert main(["--file", str(file), "--record"]) == 0
    assert main(["--file", str(file)]) == 0
    dear = {**cheap, "worker": {**cheap["worker"], "bytes sent": 103.0}}
    monkeypatch.setattr(check, "count", lambda: dear)
    assert main(["--file", str(file)]) == 1
    assert "worker: bytes sent per task have grown by 3.0 %, from 100 to 103" in capsys.readouterr().out


def test_something_is_recorded() -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert "3.11" in recorded
    assert all(counts.keys() == set(PARTS) for counts in recorded.values())
