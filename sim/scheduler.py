"""The simulated scheduler process: the real machine behind connections, checked after each turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..base.ids import Epoch
from ..protocol import messages as m
from ..protocol.messages import Message, Role
from ..scheduler.events import Disconnect, Event, PeerJoined, PeerLeft, Received, Send, Strays
from ..scheduler.machine import SchedulerMachine
from .audit import Audit
from .links import End, connect
from .world import Process

if TYPE_CHECKING:
    from .run import Simulation

VERSIONS: Final = {"python": "simulated", "myscheduler": "simulated"}
#: What proves to be the scheduler.
INCARNATION: Final = "0" * 16
EPOCH: Final = 7
#: Seconds after the first event until the turn, so that events gather as in a real loop.
_TURN_S: Final = 0.0001


def journal_room(seed: int) -> int:
    """Bytes for the journal: all of every tenth simulation is noted; one in fifty has so few that it often begins again.

    Examples
    --------
    >>> [seed for seed in range(100) if 0 < journal_room(seed) < 10**6]
    [25, 75]
    """
    if seed % 50 == 25:
        return 100_000
    return 1_000_000_000 if seed % 10 == 0 else 0


class SimScheduler(Process):
    """One start of a scheduler.

    Parameters
    ----------
    simulation : Simulation
        The cluster it serves.
    """

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation.world)
        self.simulation = simulation
        self.machine = SchedulerMachine(
            Epoch(EPOCH), "00" * 16, "tcp://simulated:8786", VERSIONS, journal=journal_room(simulation.seed)
        )
        self.audit = Audit(simulation, self.machine.core)
        self.ends: dict[str, End] = {}
        self._inbox: list[Event] = []
        self._turn_due = False
        self._strays = 0  # frames that the ends of those gone have dropped
        self._strays_told = 0
        self._alarm: float | None = None

    # ---- connections ------------------------------------------------------------------------------------------------

    def accept(self, end: End, role: Role) -> None:
        """A peer dials; it has proved its role."""
        own = End(self, INCARNATION, end.own, role)
        connect(end, own)
        own.on_messages = lambda messages: self._first(own, messages)

    def _first(self, end: End, messages: tuple[Message, ...]) -> None:
        """As the server does: HELLO comes first, and only then the machine hears of a peer."""
        if messages[0][0] != m.HELLO:
            end.close("the first message must be HELLO")
            return
        info: dict[str, Any] = messages[0][1]
        end.on_messages = lambda rest: self._post(Received(end.peer, rest))
        end.on_closed = lambda reason: self._left(end, reason)
        end.epoch = EPOCH
        old = self.ends.get(end.peer)
        if old is not None:
            assert info["resume"][0], f"{end.peer} has two connections"
            self._left(old, "its peer has come back over another link")
            old.abort("its peer has come back over another link")
        self.ends[end.peer] = end
        self._post(PeerJoined(end.peer, end.role, info))
        if messages[1:]:
            self._post(Received(end.peer, messages[1:]))

    def _left(self, end: End, reason: str) -> None:
        if self.ends.get(end.peer) is end:
            del self.ends[end.peer]
            self._strays += end.stale
            self.simulation.left(end.peer)
            if end.rejected:
                self.simulation.expelled(end.peer)
            self._post(PeerLeft(end.peer, reason, rejected=end.rejected))

    # ---- turns ------------------------------------------------------------------------------------------------------

    def _post(self, event: Event) -> None:
        self._inbox.append(event)
        if not self._turn_due:
            self._turn_due = True
            self.after(_TURN_S, self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        strays = self._strays + sum(end.stale for end in self.ends.values())
        if strays > self._strays_told:
            self._inbox.append(Strays(strays - self._strays_told))
            self._strays_told = strays
        events, self._inbox = self._inbox, []
        for instruction in self.machine.handle(self.clock, events):
            if isinstance(instruction, Send):
                end = self.ends.get(instruction.peer)
                if end is not None:
                    end.send(instruction.messages)
            elif isinstance(instruction, Disconnect):
                end = self.ends.pop(instruction.peer, None)
                self.simulation.dropped(instruction.peer, instruction.reason)
                if end is not None:
                    self._strays += end.stale
                    end.close(instruction.reason)
        self.audit.after()
        self.set_alarm()

    def set_alarm(self) -> None:
        """Ring when the machine asks for it."""
        deadline = self.machine.next_deadline()
        if deadline is None:
            return
        time = max(deadline - self.clock_offset, self.world.now + _TURN_S)
        if self._alarm is None or time < self._alarm:
            self._alarm = time
            self.at(time, lambda: self._ring(time))

    def _ring(self, time: float) -> None:
        if self._alarm == time:
            self._alarm = None
            if not self._turn_due:
                self._turn()
