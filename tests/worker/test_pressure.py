"""When a worker is paused, what it does then, and how its process is weighed."""

from __future__ import annotations

import asyncio
import os

import pytest

from myscheduler.protocol import messages as m
from myscheduler.worker.events import Beat, Cancel, Disconnected, Execute, NotStarted, Tick, Weighed
from myscheduler.worker.pressure import RESUME, Pressure
from myscheduler.worker.server import pressure as weighing
from myscheduler.worker.server.metrics import used_bytes
from myscheduler.worker.server.pressure import STEP, TIDY_ABOVE, Scales, give_back_memory
from tests.worker.driver import FAR, Driver, executed, of, result, sent, task


def test_a_worker_goes_on_well_below_where_it_was_paused() -> None:
    pressure = Pressure(1000)
    seen = []
    for nbytes in (999, 1000, 1001, 2000, 1000, RESUME * 1000, RESUME * 1000 - 1, 1000, 1001):
        pressure.changes(int(nbytes))
        seen.append(pressure.paused)
    assert seen == [False, False, True, True, True, True, False, False, True]


def test_without_a_limit_it_never_is() -> None:
    pressure = Pressure(0)
    assert not any(pressure.changes(nbytes) for nbytes in (0, 10**15, 0))


def paused() -> Driver:
    drive = Driver(pause_at=1000)
    drive.receive((m.WELCOME, {"epoch": 1, "heartbeat_s": 0.5}))
    drive(Tick())
    return drive


def test_what_has_not_started_is_given_back_and_the_scheduler_is_told_first() -> None:
    drive = paused()
    drive.compute(task("long", 1))
    drive.compute(task("ready", 2, rank=1), task("waiting", 3, deps=("far",), locations=(("far", 9, 8, (FAR,)),)))
    out = drive(Weighed(1001))
    assert out[0] == Beat(executing=1, ready=1, paused=True)
    assert of(out, Cancel) == [Cancel([("long", 1)], running=False)]
    assert sent(out, m.RECALLED) == (("ready", 2), ("waiting", 3))
    assert list(drive.machine.tasks) == ["long"]
    assert drive(Weighed(2000)) == []
    assert drive.end(result("long", 1)) != []


def test_what_only_stands_in_the_executors_queue_is_given_back_as_well() -> None:
    drive = paused()
    drive.compute(task("a", 1))
    drive.end(result("a", 1, duration=1e-6))
    assert executed(drive.compute(task("b", 2), task("c", 3, rank=1))) == ["b", "c"]
    assert of(drive(Weighed(1001)), Cancel) == [Cancel([("b", 2), ("c", 3)], running=False)]
    assert sent(drive(NotStarted([("c", 3)])), m.RECALLED) == (("c", 3),)


def test_what_comes_meanwhile_goes_back_unless_nobody_else_can_run_it() -> None:
    drive = paused()
    drive(Weighed(1001))
    terms = (m.TERMS, (("x", 1, 5.0, None),))
    assert sent(drive.receive(terms, (m.COMPUTE, (), (task("x", 1),))), m.RECALLED) == (("x", 1),)
    assert drive.machine.terms == {}
    row = task("y", 2, flags=m.FLAG_ANYWAY)
    assert of(drive.compute(row), Execute) == [Execute([row])]


def test_it_goes_on_when_there_is_room_again() -> None:
    drive = paused()
    drive(Weighed(1001))
    assert drive(Weighed(900)) == []
    assert drive(Weighed(100)) == [Beat(executing=0, ready=0, paused=False)]
    assert executed(drive.compute(task("x", 1))) == ["x"]


def test_before_it_is_welcome_nobody_could_be_told() -> None:
    assert Driver(pause_at=1000)(Weighed(1001)) == []


def test_one_that_has_lost_its_scheduler_tells_it_when_it_is_back() -> None:
    drive = paused()
    drive(Weighed(1001))
    drive(Disconnected("reset"))
    assert drive(Weighed(100)) == []
    drive.receive((m.WELCOME, {"epoch": 1, "heartbeat_s": 0.5}))
    assert of(drive(Tick()), Beat) == [Beat(executing=0, ready=0, paused=True)]


# ---- weighing -------------------------------------------------------------------------------------------------------


class Weights:
    """What the process is said to use, and what came of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used: int | None = 0
        self.tidied = 0
        self.told: list[int] = []
        self.scales = Scales(1000, self._tell)
        monkeypatch.setattr(weighing, "used_bytes", lambda pid: self.used)
        monkeypatch.setattr(weighing, "give_back_memory", self._tidy)

    def _tell(self, event: Weighed) -> None:
        self.told.append(event.nbytes)

    def _tidy(self) -> None:
        self.tidied += 1
        self.used = 10

    async def weigh(self, used: int | None) -> list[int]:
        """What the machine is told."""
        self.used = used
        self.told.clear()
        self.scales.weigh(0)
        await asyncio.sleep(0)
        tidying = self.scales._tidying
        if tidying is not None:
            await tidying
        return list(self.told)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Weights:
    return Weights(monkeypatch)


async def test_what_is_used_is_told(weights: Weights) -> None:
    assert await weights.weigh(700) == [700]
    assert weights.tidied == 0
    assert await weights.weigh(None) == []  # nobody can tell


async def test_new_results_make_the_next_look_due(weights: Weights) -> None:
    weights.scales.note(10**15)  # it has not beaten yet
    weights.used = 50
    weights.scales.weigh(500)
    weights.scales.note(int(500 + STEP * 1000) - 1)
    await asyncio.sleep(0)
    assert weights.told == [50]
    weights.scales.note(int(500 + STEP * 1000) + 1)
    await asyncio.sleep(0)
    assert weights.told == [50, 50]


async def test_before_much_is_told_what_was_freed_is_given_back_now_and_then(weights: Weights) -> None:
    much = int(TIDY_ABOVE * 1000) + 1
    assert await weights.weigh(much) == [10]
    assert await weights.weigh(much) == [much]
    assert weights.tidied == 1
    weights.scales._tidied_at -= weighing.TIDY_S
    assert await weights.weigh(much) == [10]
    assert weights.tidied == 2


async def test_nothing_is_weighed_without_a_limit_or_after_the_end(weights: Weights) -> None:
    weights.scales.close()
    assert await weights.weigh(2000) == []
    weights.scales = Scales(0, weights._tell)
    assert await weights.weigh(2000) == []


def test_memory_is_given_back_where_the_system_can() -> None:
    give_back_memory()
    assert used_bytes(os.getpid())
