"""``check`` notices what it is there to notice."""

from __future__ import annotations

import pytest

from myscheduler.base.errors import InternalError
from myscheduler.worker.check import check
from myscheduler.worker.machine import WorkerMachine
from tests.worker.driver import FAR, Driver, task


def _busy() -> WorkerMachine:
    drive = Driver()
    drive.compute(task("a", 1), task("b", 2), task("c", 3, deps=("x",), locations=(("x", 9, 8, (FAR,)),)))
    return drive.machine


def test_a_sound_machine_passes() -> None:
    check(machine := _busy())
    assert machine.executing == 1


def test_each_kind_of_damage_is_named() -> None:
    machine = _busy()
    machine.index.pace.long = 7
    with pytest.raises(InternalError, match="the pace"):
        check(machine)
    machine = _busy()
    machine.index.queue.clear()
    with pytest.raises(InternalError, match="live entries of the queue: 0, should be 1"):
        check(machine)
    machine = _busy()
    machine.runs.clear()
    with pytest.raises(InternalError, match="is at the executor"):
        check(machine)
    machine = _busy()
    machine.data["x"] = (9, 8, "int")
    with pytest.raises(InternalError, match="is held"):
        check(machine)
    machine = _busy()
    machine.fetches.peers[FAR].load = 1
    with pytest.raises(InternalError, match=f"load of {FAR}"):
        check(machine)
