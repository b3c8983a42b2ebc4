"""A simulated keeper: it sees workers from outside, and tells the scheduler of those that stand still but live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..protocol import messages as m
from ..protocol.messages import Role
from .links import End
from .scheduler import INCARNATION, VERSIONS
from .world import Process

if TYPE_CHECKING:
    from .run import Simulation
    from .workers import SimWorker

#: Seconds between two words for a worker, and before the first.
VOUCH_S: Final = 3.0


class SimKeeper(Process):
    """One for all workers; no fault strikes it.

    Parameters
    ----------
    simulation : Simulation
        The cluster it is part of.
    incarnation : str
        16 hexadecimal digits.
    """

    def __init__(self, simulation: Simulation, incarnation: str) -> None:
        super().__init__(simulation.world)
        self.simulation = simulation
        self.incarnation = incarnation
        self.words = 0
        self._link: End | None = None

    def vouch_for(self, worker: SimWorker, seconds: float) -> None:
        """See that a worker stands still for so long, and vouch for it as long as it lives."""
        if seconds > VOUCH_S:
            self.after(VOUCH_S, lambda: self._vouch(worker, seconds - VOUCH_S))

    def _vouch(self, worker: SimWorker, seconds: float) -> None:
        if worker.alive:
            self.words += 1
            self._open_link().send([(m.CALL, self.words, "vouch", (worker.name, 1, 0.0))])
            self.vouch_for(worker, seconds)

    def _open_link(self) -> End:
        """The connection with the scheduler, made when it is first needed."""
        if self._link is None or self._link.closed:
            self._link = End(self, self.incarnation, INCARNATION, Role.SCHEDULER)
            self.simulation.scheduler.accept(self._link, Role.CLIENT)
            self._link.send([(m.HELLO, {"versions": VERSIONS, "name": "keeper"})])
        return self._link
