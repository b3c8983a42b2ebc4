"""Data links between simulated workers: values come over, and whatever goes wrong is told as a failed fetch."""

from __future__ import annotations

import pytest

from myscheduler.protocol.messages import Role
from myscheduler.sim.run import Options, Simulation
from myscheduler.sim.workers import SimWorker
from myscheduler.worker import events as e
from myscheduler.worker.fetching import SLOW_S, STALLED_S


class Two:
    """Two workers, one of which wants ``x`` of the other, and what its machine is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.simulation = Simulation(1, Options(check=False))
        self.asker, self.holder = (SimWorker(self.simulation, f"{n:016x}", f"w{n}", 1) for n in (1, 2))
        for worker in (self.asker, self.holder):
            self.simulation.scheduler.accept(worker.link, Role.WORKER)
        self.simulation.workers = {worker.incarnation: worker for worker in (self.asker, self.holder)}
        self.holder.store.put("x", 5, 42, 8)
        self.told: list[e.Event] = []
        monkeypatch.setattr(self.asker, "feed", self.told.append)

    def fetch(self, attempt: int = 5) -> None:
        self.asker.transfers.fetch(e.Fetch("tcp://w2:1", 1, (("x", attempt),)))

    def outcome(self) -> e.Event:
        while not self.told or type(self.told[-1]) is e.FetchStalled:
            assert self.simulation.world.step()
        return self.told[-1]


def test_a_value_comes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two(monkeypatch)
    two.fetch()
    assert two.outcome() == e.FetchEnded("tcp://w2:1", 1, [("x", 5, 8)], [], [])
    assert two.asker.store.copies() == [("x", 5)]
    assert two.asker.store["x"] == 42


def test_a_copy_of_another_attempt_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two(monkeypatch)
    two.fetch(attempt=4)
    assert two.outcome() == e.FetchEnded("tcp://w2:1", 1, [], ["x"], [])
    assert two.simulation.audit.failed_fetches == {"x": 1}


@pytest.mark.parametrize("fault", ["cut before", "dies", "breaks", "never answers"])
def test_what_goes_wrong_is_a_failed_fetch(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two(monkeypatch)
    if fault == "cut before":
        two.simulation.cut(two.asker, two.holder, 60.0)
    two.fetch()
    if fault == "dies":
        two.holder.die()
    elif fault == "breaks":
        two.asker.transfers.dialled["tcp://w2:1"].out.truncate()
        two.asker.transfers.dialled["tcp://w2:1"].abort("reset")
    elif fault == "never answers":
        two.holder.freeze(1000.0)
    assert two.outcome() == e.FetchFailed("tcp://w2:1", 1)
    assert two.simulation.world.now <= STALLED_S + 1.0
    assert two.told[:-1] == ([e.FetchStalled("tcp://w2:1", 1)] if fault == "never answers" else [])
    assert two.asker.transfers.dialled == {}


def test_a_peer_that_is_cut_off_meanwhile_is_given_up_before_one_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two(monkeypatch)
    two.fetch()
    two.holder.freeze(1000.0)
    two.simulation.cut(two.asker, two.holder, 60.0)
    assert two.outcome() == e.FetchFailed("tcp://w2:1", 1)
    assert SLOW_S <= two.simulation.world.now <= SLOW_S + 1.0
