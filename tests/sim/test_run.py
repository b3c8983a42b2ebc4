"""Whole clusters in virtual time: thousands of them, those that failed once, and that they repeat."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from myscheduler.base.system import cpu_count
from myscheduler.sim import Options, SimulationError, simulate
from tests.sim.farm import Harvest, corpus, run

#: In each run of the tests; ``make sim SEEDS=n`` runs others.
SEEDS = 2000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_seed_breaks_a_promise() -> None:
    total = Harvest()
    for harvest in run(0, SEEDS, Options(), cpu_count()):
        total.add(harvest)
    assert total.failed == {}
    assert total.seeds == SEEDS
    assert min(total.faults.values()) > 5
    assert total.executed > 10 * SEEDS


@pytest.mark.parametrize(("seed", "options"), corpus())
def test_what_failed_once_does_not_again(seed: int, options: Options) -> None:
    assert simulate(seed, options).seed == seed


def test_without_faults_every_task_that_is_needed_runs_exactly_once() -> None:
    reports = [simulate(seed, Options(faults=())) for seed in range(30)]
    assert sum(report.executed for report in reports) > 500
    assert all(report.faults == () for report in reports)


def test_a_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    code = "from myscheduler.sim import simulate; print([simulate(s).trace for s in range(25)])"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True
        )
        for seed in ("1", "2", "3")
    ]
    traces = {child.communicate()[0] for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(traces) == 1
    assert len(set(traces.pop().strip("[]\n").split(", "))) == 25


def test_checking_changes_nothing() -> None:
    for seed in range(10):
        assert simulate(seed, Options(check=False)) == simulate(seed)


def test_what_breaks_a_promise_is_named_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("myscheduler.sim.graphs.SimTask.value", lambda task, inputs: 1)
    monkeypatch.setattr("myscheduler.sim.clients.SimClient._problem", lambda self, record, expected: "is odd")
    with pytest.raises(SimulationError, match=r"seed 3: SimulationError: .* is odd"):
        simulate(3, Options(faults=()))
