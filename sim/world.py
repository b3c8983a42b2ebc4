"""Virtual time and the wires in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from ..base.ids import Randomness
from ..protocol.codec import Encoder
from ..protocol.frames import FrameDecoder
from ..protocol.messages import Message, Role, validate


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
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._last = 0

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later; equal times keep their order."""
        self._last += 1
        heappush(self._events, (self.now + seconds, self._last, action))

    def step(self) -> bool:
        """Go to the next event; False when there is none."""
        if not self._events:
            return False
        self.now, _, action = heappop(self._events)
        self.steps += 1
        action()
        return True


class Wire:
    """One direction of a link: ordered, delayed, through the real codec.

    Parameters
    ----------
    world : World
        Whose clock counts.
    sender : Role
        As proven in the handshake; messages are validated against it.
    incarnation : str
        Of the sender.
    deliver : callable
        Takes the messages of one frame.
    """

    def __init__(
        self, world: World, sender: Role, incarnation: str, deliver: Callable[[tuple[Message, ...]], None]
    ) -> None:
        self._world = world
        self._sender = sender
        self._incarnation = incarnation
        self._deliver = deliver
        self._encoder = Encoder()
        self._decoder = FrameDecoder()
        self._sequence = 0
        self._free_at = 0.0
        self.cut = False

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages on the wire; they arrive after a random delay, in order."""
        if self.cut or not messages:
            return
        data = b"".join(bytes(part) for part in self._encoder.encode(1, self._incarnation, self._sequence, messages))
        self._sequence += 1
        random = self._world.random
        delay = random.expovariate(1 / 0.0005) if random.random() < 0.95 else random.uniform(0.0, 0.2)
        arrival = max(self._free_at, self._world.now + delay)
        self._free_at = arrival
        self._world.after(arrival - self._world.now, lambda: self._arrive(data))

    def _arrive(self, data: bytes) -> None:
        if self.cut:
            return
        position = 0
        while position < len(data):
            buffer = self._decoder.get_buffer()
            size = min(len(buffer), len(data) - position)
            buffer[:size] = data[position : position + size]
            position += size
            for frame in self._decoder.received(size):
                for message in frame.messages:
                    validate(message, self._sender)
                self._deliver(frame.messages)
