"""Whole clusters in virtual time: results equal a sequential evaluation, and broken schedulers are found out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from myscheduler.scheduler import outcomes
from myscheduler.scheduler.core import Core
from myscheduler.scheduler.membership import Membership
from myscheduler.sim import Options, SimulationError, simulate

BATCH = 25


@pytest.mark.parametrize("first", range(0, 200, BATCH))
def test_random_graphs_give_what_a_sequential_evaluation_gives(first: int) -> None:
    reports = [simulate(seed) for seed in range(first, first + BATCH)]
    assert sum(report.deaths for report in reports) > 0
    assert sum(report.tasks for report in reports) > 100


def test_without_deaths_every_task_runs_at_most_once() -> None:
    for seed in range(20):
        report = simulate(seed, Options(deaths=0))
        assert report.executed <= report.tasks


def test_a_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    code = "from myscheduler.sim import simulate; print([simulate(s).trace for s in range(8)])"
    traces = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(traces) == 1


def _forget_lost_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "lose", lambda core, ts: None)


def _keep_running_tasks_of_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Membership, "_leave_worker", lambda *args: None)


def _believe_stale_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "settle", lambda *args, **kwargs: None)


def _free_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Core.drop_need

    def drop_need(core: Core, dep: object) -> None:
        original(core, dep)  # type: ignore[arg-type]
        core.free(dep)  # type: ignore[arg-type]

    monkeypatch.setattr(Core, "drop_need", drop_need)


def _give_up_at_the_first_missing_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "UNFETCHED_MAX", 1)


@pytest.mark.parametrize(
    "mutate",
    [
        _forget_lost_data,
        _keep_running_tasks_of_the_dead,
        _believe_stale_results,
        _free_too_early,
        _give_up_at_the_first_missing_input,
    ],
)
def test_a_broken_scheduler_is_found_out(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    found = None
    for seed in range(150):
        try:
            simulate(seed)
        except SimulationError as error:
            found = error
            break
    assert found is not None
    assert f"seed {seed}" in str(found)
