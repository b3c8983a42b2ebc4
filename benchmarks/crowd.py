"""The unmodified scheduler machine with as many workers as one likes, which answer at once, in virtual time.

Only the machine's own processor time is counted: ``handle``, and ``next_deadline``, which the shell calls after each turn. What
workers say waits as bytes until its turn comes, as it does in the kernel: thousands of messages that lie about as objects would
cost the machine's own objects their places in the processor's caches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from time import thread_time_ns
from typing import Any, Final

from myscheduler.base.ids import Epoch
from myscheduler.protocol import messages as m
from myscheduler.protocol.codec import pack, unpack
from myscheduler.scheduler.events import Event, PeerJoined, Received, Send
from myscheduler.scheduler.liveness import HEARTBEAT_S, WATCH_S
from myscheduler.scheduler.machine import SchedulerMachine
from myscheduler.scheduler.server.collecting import spare_records

VERSIONS: Final = {"python": "virtual", "myscheduler": "virtual"}
CLIENT: Final = "c"
FUNCTION: Final = b"f" * 16
PLAIN: Final = (0, 0, None, False, None, None)
#: Messages of one turn at most, however many workers there are: nothing is to become cheaper by larger batches.
TURN_EVENTS: Final = 10
#: How virtual time passes: about as fast as for a scheduler that never rests.
SECONDS_PER_TASK: Final = 15e-6
#: What a task takes unless said otherwise.
LONG_S: Final = 0.1
#: Runs that take longer than this are answered one by one.
BATCHED_S: Final = 0.001
#: Rows of one SUBMIT, as clients send them.
SLICE: Final = 512

Graph = Iterable[tuple[str, tuple[str, ...]]]


class Crowd:
    """One machine, one client and many workers with a thread each.

    Parameters
    ----------
    workers : int
        How many.
    seconds : float
        What each task is said to have taken. Short ones are sent in batches, long ones one by one.
    nbytes : int
        What each result is said to take.
    """

    def __init__(self, workers: int, seconds: float = LONG_S, nbytes: int = 28) -> None:
        spare_records()  # as the daemon does
        self.machine = SchedulerMachine(Epoch(1), "00" * 16, "tcp://scheduler", VERSIONS)
        self.seconds = seconds
        self.nbytes = nbytes
        self.now = 0.0
        self.spent_ns = 0
        self.done = 0
        self.inbox: deque[Event | tuple[str, bytes]] = deque()
        self._request = 0
        self._names = [f"w{number:05}" for number in range(workers)]
        self._beaten = 0  # who is next to send a heartbeat
        self.post(PeerJoined(CLIENT, m.Role.CLIENT, {"versions": VERSIONS}))
        for name in self._names:
            info = {"name": name, "address": f"tcp://{name}:1", "host": name, "nthreads": 1, "memory_limit": 0}
            self.post(PeerJoined(name, m.Role.WORKER, {**info, "resources": {}, "versions": VERSIONS}))
        self.settle()

    # ---- turns ------------------------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Something that the next turns will see."""
        self.inbox.append(event)

    def settle(self) -> None:
        """Turn after turn until nobody has anything to say."""
        while self.inbox:
            self.turn()

    def turn(self) -> None:
        """What the shell does: hand over what has arrived, pass on what is to be sent, ask for the next deadline."""
        inbox = self.inbox
        events = [_read(inbox.popleft()) for _ in range(min(TURN_EVENTS, len(inbox)))]
        begin = thread_time_ns()
        instructions = self.machine.handle(self.now, events)
        self.machine.next_deadline()
        self.spent_ns += thread_time_ns() - begin
        done = self.done
        for instruction in instructions:
            if type(instruction) is Send and instruction.peer != CLIENT:
                self._answer(instruction.peer, instruction.messages)
        self._pass_time((self.done - done) * SECONDS_PER_TASK)

    def _answer(self, worker: str, messages: list[m.Message]) -> None:
        """A worker runs all it is sent at once. It tells what it has fetched, and then the results: of long runs one by one."""
        for message in messages:
            if message[0] != m.COMPUTE:
                continue
            rows = message[2]
            replicas = tuple([location[:2] for row in rows for location in row[6]])
            if replicas:
                self._tell(worker, (m.REPLICAS, replicas))
            results = [(row[0], row[1], self.nbytes, "int", None, 0, 0.0, self.seconds) for row in rows]
            together = 1 if self.seconds > BATCHED_S else len(rows)
            for first in range(0, len(rows), together):
                self._tell(worker, (m.RESULTS, tuple(results[first : first + together])))
            self.done += len(rows)

    def _tell(self, worker: str, message: m.Message) -> None:
        """A frame is on its way."""
        self.inbox.append((worker, pack((message,))))

    def _pass_time(self, seconds: float) -> None:
        """Time passes, and each worker sends its heartbeats meanwhile."""
        self.now += seconds
        due = int(self.now / HEARTBEAT_S * len(self._names))
        for number in range(self._beaten, due):
            name = self._names[number % len(self._names)]
            self._tell(name, (m.HEARTBEAT, {"executing": 1, "round_trip": 0.0, "cpu": 0.5}))
        self._beaten = due

    def rest(self, seconds: float) -> None:
        """Nothing happens but heartbeats and looks at the clock."""
        end = self.now + seconds
        while self.now < end:
            self._pass_time(WATCH_S / 10)
            self.settle()
            self.turn()

    # ---- the client -------------------------------------------------------------------------------------------------

    def say(self, message: m.Message) -> None:
        """A message of the client."""
        self.post(Received(CLIENT, (message,)))

    def submit(self, graph: Graph, wanted: Iterable[str] | None = None) -> None:
        """Submit tasks with their dependencies, in order; ``wanted``: those of which futures are kept, else all."""
        self._request += 1
        chosen = None if wanted is None else dict.fromkeys(wanted)
        rows = ((key, FUNCTION, b"x" * 16, deps, order, 0) for order, (key, deps) in enumerate(graph))
        functions: tuple[Any, ...] = ((FUNCTION, b"code"),)
        part = tuple(islice(rows, SLICE))
        while part:
            following = tuple(islice(rows, SLICE))
            wants = None if chosen is None else tuple([i for i, row in enumerate(part) if row[0] in chosen])
            self.say((m.SUBMIT, self._request, functions, (PLAIN,), part, wants, bool(following)))
            functions, part = (), following

    def release(self, keys: Iterable[str]) -> None:
        """Let futures go."""
        all_keys = tuple(keys)
        for start in range(0, len(all_keys), SLICE):
            self.say((m.RELEASE, all_keys[start : start + SLICE]))


def _read(arrived: Event | tuple[str, bytes]) -> Event:
    """What the shell hands over: frames are decoded just before."""
    return Received(arrived[0], unpack(arrived[1])) if isinstance(arrived, tuple) else arrived
