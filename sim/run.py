"""One simulation: a cluster, random graphs, deaths of workers; then the comparison and the clean-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

from ..base.errors import MySchedulerError
from ..base.ids import Epoch, seeded
from ..protocol.messages import Message, Role
from ..scheduler.check import check
from ..scheduler.events import Disconnect, Event, PeerJoined, PeerLeft, Received, Send
from ..scheduler.machine import SchedulerMachine
from .clients import SimClient
from .graphs import random_graph
from .workers import SimWorker
from .world import World

VERSIONS: Final = {"python": "simulated", "myscheduler": "simulated"}
#: Virtual seconds after which something must have gone wrong.
PATIENCE_S: Final = 3600.0


class SimulationError(MySchedulerError):
    """A simulation broke a promise; the message names the seed that repeats it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is simulated.

    Parameters
    ----------
    deaths : int
        Workers that die at random moments; each is replaced.
    check : bool
        Recompute all derived indexes after every event.
    """

    deaths: int = 2
    check: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in one simulation: counts, virtual seconds, and a digest that is equal for equal runs."""

    seed: int
    tasks: int
    executed: int
    deaths: int
    steps: int
    seconds: float
    trace: int


class SimScheduler:
    """The real machine behind wires."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.machine = SchedulerMachine(Epoch(1), "00" * 16, "tcp://simulated:8786", VERSIONS)
        self._inbox: list[Event] = []
        self._alarm = 0.0
        self.trace = 0

    def receiver(self, incarnation: str) -> Callable[[tuple[Message, ...]], None]:
        """Where the wire of a peer ends."""
        return lambda messages: self.post(Received(incarnation, messages))

    def post(self, event: Event) -> None:
        """Queue an event; the turn comes a moment later, so that events gather as in a real loop."""
        if not self._inbox:
            self.simulation.world.after(0.0001, self.turn)
        self._inbox.append(event)

    def turn(self) -> None:
        """One turn of the machine."""
        events, self._inbox = self._inbox, []
        world = self.simulation.world
        for instruction in self.machine.handle(world.now, events):
            if isinstance(instruction, Send):
                self.trace = crc32(repr((instruction.peer, instruction.messages)).encode(), self.trace)
                peer = self.simulation.peer(instruction.peer)
                if peer is not None:
                    peer.from_scheduler.send(instruction.messages)
            elif isinstance(instruction, Disconnect):
                raise SimulationError(f"the scheduler dropped {instruction.peer}: {instruction.reason}")
        if self.simulation.options.check:
            check(self.machine.core)
        deadline = self.machine.next_deadline()
        if deadline is not None and not (world.now < self._alarm <= deadline):
            self._alarm = max(deadline, world.now + 1e-4)
            world.after(self._alarm - world.now, self._ring)

    def _ring(self) -> None:
        if self.simulation.running and not self._inbox:
            self.turn()


class Simulation:
    """All that lives in one seed."""

    def __init__(self, seed: int, options: Options) -> None:
        self.seed = seed
        self.options = options
        self.random = seeded(seed)
        self.world = World(self.random)
        self.scheduler = SimScheduler(self)
        self.workers: dict[str, SimWorker] = {}
        self.clients: dict[str, SimClient] = {}
        self.running = True
        self.deaths = 0
        self.executed = 0
        self._born = 0

    # ---- peers ------------------------------------------------------------------------------------------------------

    def peer(self, incarnation: str) -> SimWorker | SimClient | None:
        """Whoever is on the other end of a link."""
        return self.workers.get(incarnation) or self.clients.get(incarnation)

    def worker_at(self, address: str) -> SimWorker | None:
        """The living worker at an address."""
        return next((worker for worker in self.workers.values() if worker.address == address), None)

    def _incarnation(self) -> str:
        return f"{self.random.getrandbits(64):016x}"

    def add_worker(self) -> None:
        """Start a worker."""
        self._born += 1
        worker = SimWorker(self, self._incarnation(), f"w{self._born}", self.random.choice((1, 1, 2, 4)))
        self.workers[worker.incarnation] = worker
        self.scheduler.post(PeerJoined(worker.incarnation, Role.WORKER, worker.hello() | {"versions": VERSIONS}))
        self._beat(worker)

    def _beat(self, worker: SimWorker) -> None:
        if worker.alive and self.running:
            worker.to_scheduler.send([(56, {})])
            self.world.after(5.0, lambda: self._beat(worker))

    def add_client(self) -> SimClient:
        """Start a client."""
        client = SimClient(self, self._incarnation())
        self.clients[client.incarnation] = client
        info: dict[str, Any] = {"versions": VERSIONS}
        client.start(info)
        self.scheduler.post(PeerJoined(client.incarnation, Role.CLIENT, info))
        return client

    def kill_somebody(self) -> None:
        """A worker dies without a word, and another starts a little later."""
        if not self.workers or not self.running:
            return
        worker = self.random.choice(list(self.workers.values()))
        self.deaths += 1
        self._bury(worker)
        self.world.after(self.random.uniform(0.0, 0.5), self.add_worker)

    def worker_stops(self, worker: SimWorker) -> None:
        """A worker ends on purpose."""
        self._bury(worker)

    def _bury(self, worker: SimWorker) -> None:
        worker.die()
        self.executed += worker.executed
        del self.workers[worker.incarnation]
        noticed = self.random.uniform(0.0, 0.3)
        self.world.after(noticed, lambda: self.scheduler.post(PeerLeft(worker.incarnation, "connection reset")))

    # ---- the run ----------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Submit, disturb, wait, compare, release, and look for what is left."""
        for _ in range(self.random.choice((1, 2, 3, 5))):
            self.add_worker()
        clients = [self.add_client() for _ in range(self.random.choice((1, 1, 2, 3)))]
        tasks = 0
        for number, client in enumerate(clients):
            size = self.random.choice((3, 30, 150))
            graph = random_graph(self.random, f"task{number}", size, self.random.choice((0.0, 0.0, 0.05)))
            keys = list(graph)
            wanted = self.random.sample(keys, self.random.randint(1, len(keys)))
            tasks += size
            delay = self.random.uniform(0.0, 0.1)
            self.world.after(delay, lambda client=client, graph=graph, wanted=wanted: client.submit(graph, wanted))  # type: ignore[misc]
        for _ in range(self.random.randint(0, self.options.deaths)):
            self.world.after(self.random.uniform(0.0, 2.0), self.kill_somebody)
        self._until("all futures have their outcome", lambda: self.world.now > 0.2 and self._settled())
        for client in clients:
            wrong = client.wrong_keys()
            if wrong:
                raise SimulationError(f"{wrong[0][0]!r} {wrong[0][1]}")
        for client in clients:
            client.release_all()
        self._until("nothing is left", self._clean)
        self.running = False
        executed = self.executed + sum(worker.executed for worker in self.workers.values())
        if not self.deaths and executed > tasks:
            raise SimulationError(f"{executed} runs of {tasks} tasks although nothing went wrong")
        return Report(self.seed, tasks, executed, self.deaths, self.world.steps, self.world.now, self.scheduler.trace)

    def _settled(self) -> bool:
        return all(client.expected and not client.open_keys() for client in self.clients.values())

    def _clean(self) -> bool:
        core = self.scheduler.machine.core
        return (
            not core.tasks
            and not core.functions.keys() - {b"simulated task  "}
            and not any(worker.store or worker.machine.tasks or worker.machine.data for worker in self.workers.values())
            and not any(ws.abandoned or ws.assigned for ws in core.workers.values())
        )

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        while not condition():
            if not self.world.step() or self.world.now > PATIENCE_S:
                raise SimulationError(f"after {self.world.now:.1f} virtual seconds it is not true that {what}")


def simulate(seed: int, options: Options | None = None) -> Report:
    """Run one simulation.

    Parameters
    ----------
    seed : int
        Decides everything that happens.
    options : Options, optional
        What is simulated.

    Returns
    -------
    Report
        Equal for equal seeds and options.

    Raises
    ------
    SimulationError
        A promise was broken; the message says which and names the seed.

    Examples
    --------
    >>> simulate(1) == simulate(1)
    True
    """
    try:
        return Simulation(seed, options or Options()).run()
    except (SimulationError, MySchedulerError, AssertionError, LookupError) as error:
        raise SimulationError(f"seed {seed}: {type(error).__name__}: {error}") from error
