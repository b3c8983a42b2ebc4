"""The audit finds what the check of all tables finds, in the turn in which it goes wrong, and what no table shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from myscheduler.scheduler.core import Core
from myscheduler.scheduler.state import MEMORY
from myscheduler.sim.graphs import SimTask
from myscheduler.sim.run import Options, Simulation


def _running() -> Simulation:
    """Some tasks are done, some run, some wait."""
    simulation = Simulation(4, Options())
    simulation.add_worker()
    client = simulation.add_client()
    client.graph = {f"x-{n}": SimTask(n, (f"x-{n - 1}",) if n else (), 0.1) for n in range(20)}
    client.wanted = dict.fromkeys(client.graph)
    client.submit()
    while simulation.scheduler.machine.core.totals[MEMORY] < 5:
        assert simulation.world.step()
    simulation.audit.after()
    return simulation


def _miscount_need(core: Core) -> None:
    core.tasks["x-3"].needed_by += 1


def _lose_a_holder(core: Core) -> None:
    core.tasks["x-2"].holders = ()


def _lose_a_copy(core: Core) -> None:
    [ws] = core.workers.values()
    ws.stored.pop(core.tasks["x-2"])


def _lose_a_want(core: Core) -> None:
    [client] = core.clients.values()
    core.tasks["x-9"].wanted_by = ()
    assert client.wants


def _miscount_inputs(core: Core) -> None:
    core.tasks["x-9"].waiting_on = 0


def _miscount_totals(core: Core) -> None:
    core.totals[MEMORY] += 1


def _lose_a_task(core: Core) -> None:
    del core.tasks["x-19"]


@pytest.mark.parametrize(
    "damage",
    [_miscount_need, _lose_a_holder, _lose_a_copy, _lose_a_want, _miscount_inputs, _miscount_totals, _lose_a_task],
)
def test_damage_is_found_in_the_same_turn(damage: Callable[[Core], None]) -> None:
    simulation = _running()
    damage(simulation.scheduler.machine.core)
    with pytest.raises((AssertionError, KeyError)):
        simulation.audit.after()


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    simulation = _running()
    simulation.audit.after()
    simulation.audit.whole()
    assert simulation.audit.runs["x-0"] == 1


def test_a_result_that_its_attempt_did_not_make_is_found() -> None:
    simulation = _running()
    simulation.scheduler.machine.core.tasks["x-1"].attempt += 100
    with pytest.raises(AssertionError, match="a result of 'x-1' is accepted that attempt 1.. did not make"):
        simulation.audit.after()


def test_copies_that_only_one_side_knows_of_are_disputed() -> None:
    simulation = _running()
    [worker] = simulation.workers.values()
    worker.store.put("leaked", 99, 1, 8)
    worker.store.put("leaked", 100, 2, 8)
    disputed = simulation.audit.disputed_copies()
    assert {(worker.name, "leaked", 99), (worker.name, "leaked", 100)} <= disputed


def test_a_task_raises_as_often_as_it_says() -> None:
    audit = Simulation(1, Options()).audit
    task = SimTask(1, (), 0.0, raises=2)
    assert [audit.started("x", attempt, task) for attempt in (1, 2, 3)] == [True, True, False]
