"""Virtual time, and the processes that live in it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from ..base.ids import Randomness


class World:
    """A clock that jumps from one event to the next.

    Parameters
    ----------
    randomness : Randomness
        The only source of chance in a simulation.

    Examples
    --------
    >>> from myscheduler.base.ids import seeded
    >>> world = World(seeded(1))
    >>> world.after(2.0, lambda: print("late"))
    >>> world.after(1.0, lambda: print("early"))
    >>> while world.step(): pass
    early
    late
    >>> world.now
    2.0
    """

    def __init__(self, randomness: Randomness) -> None:
        self.random = randomness
        self.now = 0.0
        self.steps = 0
        #: mean seconds that bytes travel, most of the time: near or far
        self.latency = randomness.choice((0.0005, 0.0005, 0.03))
        self.trace = 0  # a digest of every byte that arrived anywhere
        #: when, and in which order at the same moment: by when it was due before its process stood still, then by number
        self._events: list[tuple[float, float, int, Callable[[], None]]] = []
        self._last = 0

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later; equal times keep their order."""
        self.at(self.now + seconds, action)

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a given time; equal times keep their order."""
        self.put(time, time, self.number(), action)

    def number(self) -> int:
        """The next in the order in which things were planned."""
        self._last += 1
        return self._last

    def put(self, time: float, due: float, number: int, action: Callable[[], None]) -> None:
        """Do something at a given time that was due at another, and was planned as this number."""
        heappush(self._events, (time, due, number, action))

    def step(self) -> bool:
        """Go to the next event; False when there is none."""
        if not self._events:
            return False
        self.now, _, _, action = heappop(self._events)
        self.steps += 1
        action()
        return True


class Process:
    """A process of the cluster: it may die, stop for a while, and has a clock of its own.

    Parameters
    ----------
    world : World
        Where it lives.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.alive = True
        self.frozen_until = 0.0
        #: what its clock shows at the world's zero; differs from process to process, and jumps
        self.clock_offset = world.random.uniform(0.0, 1e6)

    @property
    def clock(self) -> float:
        """What its monotonic clock shows."""
        return self.world.now + self.clock_offset

    def freeze(self, seconds: float) -> None:
        """Stop all its threads for a while. Whatever was due meanwhile is due when it goes on, in the same order."""
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)

    def jump(self, seconds: float) -> None:
        """Move its clock forward; timers that are due by then ring."""
        self.clock_offset += seconds
        self.after(0.0, self.set_alarm)

    def set_alarm(self) -> None:
        """See to it that whatever the process waits for by its clock is looked at in time."""

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later, if the process is alive then; not before it goes on if it is stopped."""
        self.at(self.world.now + seconds, action)

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Likewise, at a given time of the world."""
        number = self.world.number()

        def run() -> None:
            if self.world.now < self.frozen_until:
                self.world.put(self.frozen_until, time, number, run)
            elif self.alive:
                action()

        self.world.put(time, time, number, run)
