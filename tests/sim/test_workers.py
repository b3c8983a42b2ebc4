"""A simulated worker refuses to start a task without its inputs: the promise is checked where it would break."""

from __future__ import annotations

import pytest

from myscheduler.protocol import messages as m
from myscheduler.sim.graphs import SimTask
from myscheduler.sim.run import Options, Simulation
from myscheduler.sim.workers import SimWorker
from myscheduler.worker import events as e


def _worker() -> tuple[Simulation, SimWorker]:
    simulation = Simulation(1, Options())
    simulation.add_worker()
    [worker] = simulation.workers.values()
    return simulation, worker


def test_a_task_takes_virtual_time_and_leaves_its_value_in_the_store() -> None:
    simulation, worker = _worker()
    row = ("x", 7, b"f", SimTask(42, (), 1.5).payload(), 0, (), (), 0)
    worker.feed(e.Received(((m.COMPUTE, (), (row,)),)))
    while "x" not in worker.store:
        assert simulation.world.step()
    assert worker.store["x"] == (7, 42)
    assert simulation.world.now >= 1.5


def test_a_task_without_its_input_is_an_error_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    _, worker = _worker()
    row = ("x", 7, b"f", SimTask(42, ("y",), 1.0).payload(), 0, ("y",), (), 0)
    monkeypatch.setattr(worker.machine, "handle", lambda now, event: [e.Execute([row])])
    with pytest.raises(AssertionError, match="'x' starts on w1 without its input 'y'"):
        worker.feed(e.Tick())


def test_the_dead_do_nothing() -> None:
    _, worker = _worker()
    worker.die()
    worker.feed(e.Received(((m.COMPUTE, (), (("x", 7, b"f", b"1 0 0", 0, (), (), 0),)),)))
    assert worker.machine.tasks == {}
