"""How long tasks of one kind take: learnt from those that have ended, guessed until the first has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .queues import OwnQueue

#: Seconds a task is taken to need before any of its kind has been measured.
UNKNOWN_DURATION_S: Final = 0.005
#: No estimate is below this: it bounds how many tasks a worker is sent ahead.
DURATION_FLOOR_S: Final = 20e-6


class Durations:
    """What is known of one kind of task, and whose queues counted on a guess before."""

    __slots__ = ("duration", "estimate", "guess", "guessed")

    def __init__(self) -> None:
        self.duration: float | None = None  # seconds, exponentially weighted
        self.estimate = UNKNOWN_DURATION_S  # what the next one will take
        self.guess = UNKNOWN_DURATION_S  # what each counts for that was queued before any had been measured
        self.guessed: dict[OwnQueue, int] = {}  # how many of them wait where; empty when one has been

    def observe(self, seconds: float) -> None:
        """Take one measured run into the estimate."""
        old = self.duration
        self.duration = new = seconds if old is None else old + (seconds - old) * 0.2
        self.estimate = new
        if new < DURATION_FLOOR_S:
            self.estimate = DURATION_FLOOR_S
        if self.guessed:
            self._learn()

    def _learn(self) -> None:
        """The first has been measured: those that are queued count for as much."""
        for queue, count in self.guessed.items():
            queue.work += count * (self.estimate - self.guess)
        self.guess = self.estimate
        self.guessed = {}
