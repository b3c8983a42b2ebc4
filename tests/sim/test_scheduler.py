"""The simulated scheduler: HELLO comes first, peers that leave are told of, and timers follow its own clock."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from myscheduler.sim.clients import SimClient
from myscheduler.sim.run import Options, Simulation


def _until(simulation: Simulation, seconds: float) -> None:
    while simulation.world.now < seconds:
        assert simulation.world.step()


def test_a_worker_is_welcome_and_beats() -> None:
    simulation = Simulation(1, Options())
    worker = simulation.add_worker()
    _until(simulation, 2.0)
    core = simulation.scheduler.machine.core
    assert list(core.workers) == [worker.incarnation]
    assert core.workers[worker.incarnation].metrics == {"executing": 0, "ready": 0, "paused": False}
    assert worker.link.epoch == simulation.scheduler.ends[worker.incarnation].epoch > 0


def test_who_does_not_say_hello_first_is_not_let_in() -> None:
    simulation = Simulation(1, Options())
    client = SimClient(simulation, "ab" * 8)
    simulation.scheduler.accept(client.link, m.Role.CLIENT)
    client.link.send([(m.WANT, ("x",))])
    while simulation.world.step():
        pass
    assert client.link.closed
    assert simulation.scheduler.machine.core.clients == {}


def test_a_dead_worker_leaves_at_once_and_a_silent_one_when_it_is_given_up() -> None:
    simulation = Simulation(1, Options())
    workers = [simulation.add_worker() for _ in range(2)]
    _until(simulation, 1.0)
    workers[0].die()
    _until(simulation, 2.0)
    assert list(simulation.scheduler.machine.core.workers) == [workers[1].incarnation]
    simulation.mute(workers[1])
    workers[1].die(silently=True)
    _until(simulation, 5.0)
    assert list(simulation.scheduler.machine.core.workers) == [workers[1].incarnation]
    while simulation.scheduler.machine.core.workers:
        assert simulation.world.step()
    assert simulation.world.now < 40.0


def test_the_futures_of_a_client_that_died_are_released_after_the_grace() -> None:
    simulation = Simulation(1, Options())
    simulation.add_worker()
    client = simulation.add_client()
    _until(simulation, 1.0)
    client.link.send([(m.WANT, ("x",))])
    client.die()
    _until(simulation, 30.0)
    assert list(simulation.scheduler.machine.core.clients) == [client.incarnation]
    _until(simulation, 33.0)
    assert simulation.scheduler.machine.core.clients == {}
