"""A simulated keeper: those who stand still but live are not given up."""

from __future__ import annotations

from myscheduler.sim.faults import hold
from myscheduler.sim.run import Options, Simulation


def run_for(simulation: Simulation, seconds: float) -> None:
    end = simulation.world.now + seconds
    while simulation.world.now < end:
        assert simulation.world.step()


def test_a_worker_that_is_held_stays_known_and_goes_on() -> None:
    simulation = Simulation(1, Options())
    worker = simulation.add_worker()
    run_for(simulation, 1.0)
    worker.freeze(40.0)
    simulation.keeper.vouch_for(worker, 40.0)
    run_for(simulation, 39.0)
    ws = simulation.scheduler.machine.core.workers[worker.incarnation]
    assert ws.unresponsive
    assert simulation.keeper.words == 13
    run_for(simulation, 2.0)
    assert not ws.unresponsive


def test_nobody_vouches_for_the_dead_or_for_a_moment() -> None:
    simulation = Simulation(1, Options())
    worker = simulation.add_worker()
    simulation.keeper.vouch_for(worker, 2.0)
    simulation.keeper.vouch_for(worker, 30.0)
    run_for(simulation, 4.0)
    worker.die()
    while simulation.world.step():
        pass
    assert simulation.keeper.words == 1


def test_the_fault_holds_some_worker() -> None:
    simulation = Simulation(1, Options())
    worker = simulation.add_worker()
    run_for(simulation, 1.0)
    assert hold(simulation)
    assert worker.frozen_until > simulation.world.now
