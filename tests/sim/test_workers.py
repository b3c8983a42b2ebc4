"""A simulated worker: tasks take virtual time, and promises are checked where they would break."""

from __future__ import annotations

import pytest

from myscheduler.protocol import messages as m
from myscheduler.sim.graphs import SimTask
from myscheduler.sim.run import Options, Simulation
from myscheduler.sim.workers import LEASE_S, SimWorker
from myscheduler.worker import events as e


def _worker() -> tuple[Simulation, SimWorker]:
    simulation = Simulation(1, Options())
    return simulation, simulation.add_worker()


def _row(key: str, attempt: int, task: SimTask) -> m.Row:
    return (key, attempt, b"f", task.payload(), 0, task.deps, (), 0)


def test_a_task_takes_virtual_time_and_leaves_its_value_in_the_store() -> None:
    simulation, worker = _worker()
    worker.feed(e.Received(((m.COMPUTE, (), (_row("x", 7, SimTask(42, (), 1.5)),)),)))
    while "x" not in worker.store:
        assert simulation.world.step()
    assert worker.store.find("x", 7) is not None
    assert worker.store["x"] == 42
    assert simulation.world.now >= 1.5


def test_a_task_without_its_input_is_an_error_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    _, worker = _worker()
    row = _row("x", 7, SimTask(42, ("y",), 1.0))
    monkeypatch.setattr(worker.machine, "handle", lambda now, event: [e.Execute([row])])
    with pytest.raises(AssertionError, match="'x' is to run on w1 without its input 'y'"):
        worker.feed(e.Tick())


def test_more_resources_than_there_are_is_an_error_of_the_scheduler() -> None:
    _, worker = _worker()
    worker.gpus = 1
    with pytest.raises(AssertionError, match="'x' starts on w1, which uses 2 of 1 gpus then"):
        worker.feed(e.Received(((m.COMPUTE, (), (_row("x", 7, SimTask(1, (), 1.0, gpus=2)),)),)))


def test_an_attempt_that_starts_twice_is_an_error() -> None:
    simulation, worker = _worker()
    worker.feed(e.Received(((m.COMPUTE, (), (_row("x", 7, SimTask(1, (), 1.0)),)),)))
    other = simulation.add_worker()
    with pytest.raises(AssertionError, match="attempt 7 of 'x' starts a second time"):
        other.feed(e.Received(((m.COMPUTE, (), (_row("x", 7, SimTask(1, (), 1.0)),)),)))


def test_the_dead_do_nothing() -> None:
    _, worker = _worker()
    worker.die()
    worker.feed(e.Received(((m.COMPUTE, (), (_row("x", 7, SimTask(1, (), 0.0)),)),)))
    assert worker.machine.tasks == {}


def _welcome() -> tuple[Simulation, SimWorker]:
    simulation, worker = _worker()
    while not worker.link.epoch:
        assert simulation.world.step()
    return simulation, worker


def test_a_worker_that_loses_its_scheduler_comes_back_with_its_data_and_runs() -> None:
    simulation, worker = _welcome()
    worker.feed(e.Received(((m.COMPUTE, (), (_row("x", 7, SimTask(42, (), 1.5)),)),)))
    worker.link.abort("cut")
    while not worker.returns:
        assert simulation.world.step()
    assert worker.alive
    assert list(worker.machine.runs) == [7]
    believed = simulation.scheduler.machine.core.workers[worker.incarnation]
    while believed.absence is not None:
        assert simulation.world.step()
    assert list(believed.abandoned) == [7]  # nobody had asked for it


def test_a_worker_that_cannot_reach_its_scheduler_tries_until_its_lease_ends() -> None:
    simulation, worker = _welcome()
    simulation.isolate(worker, 1000.0)
    worker.link.abort("cut")
    lost = simulation.world.now
    while worker.alive:
        assert simulation.world.step()
    assert LEASE_S <= simulation.world.now - lost < LEASE_S + 10.0
    while not simulation.workers:
        assert simulation.world.step()
    assert [other.name for other in simulation.workers.values()] == ["w2"]


def test_a_worker_that_was_lost_meanwhile_comes_back_all_the_same() -> None:
    simulation, worker = _welcome()
    simulation.isolate(worker, 20.0)
    worker.link.abort("cut")
    core = simulation.scheduler.machine.core
    while worker.incarnation in core.workers:
        assert simulation.world.step()
    while worker.incarnation not in core.workers:
        assert simulation.world.step()
    assert 20.0 < simulation.world.now < 30.0
