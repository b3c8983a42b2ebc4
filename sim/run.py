"""One simulation: a cluster, random graphs, faults at random moments; then the comparison and the clean-up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ..base.errors import MySchedulerError, UsageError
from ..base.ids import seeded
from ..base.keys import Key
from .audit import Audit
from .clients import FUNC_ID, SimClient
from .faults import FAULTS, HARMLESS
from .graphs import SimTask, random_graph
from .keeper import SimKeeper
from .links import End
from .scheduler import SimScheduler
from .workers import SimWorker
from .world import Process, World

#: A silent peer is given up within this.
GIVEN_UP_S: Final = 31.0
#: Once the faults are over, all runnable work ends within three times that, twice the time it would take on one thread,
#: and this.
SLACK_S: Final = 10.0
#: Once all futures are released, nothing is left after this.
CLEAN_S: Final = 3 * GIVEN_UP_S + SLACK_S
#: Workers that die with a task before it is failed.
KILLS_MIN: Final = 3
#: Fetches of an input that fail before its task is failed: one that finds two holders out of reach counts twice.
UNFETCHED_MIN: Final = 3


class SimulationError(MySchedulerError):
    """A simulation broke a promise; the message names the seed that repeats it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is simulated.

    Parameters
    ----------
    faults : tuple of str, optional
        The kinds of faults to choose from, by their names in ``faults.FAULTS``; all by default, none if empty.
    check : bool
        Check all tables after every event.
    """

    faults: tuple[str, ...] | None = None
    check: bool = True

    def __post_init__(self) -> None:
        unknown = [name for name in self.faults or () if name not in FAULTS]
        if unknown:
            raise UsageError(f"there are no faults named {', '.join(unknown)}; known are {', '.join(FAULTS)}")


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in one simulation.

    Parameters
    ----------
    seed : int
        What decided everything.
    tasks : int
        Tasks in all graphs.
    executed : int
        Runs of tasks that were started.
    faults : tuple of (str, int)
        How often each kind of fault happened, without those that did not.
    steps : int
        Events of the world.
    seconds : float
        Virtual time.
    trace : int
        A digest of all that went over the wires, equal for equal runs.
    """

    seed: int
    tasks: int
    executed: int
    faults: tuple[tuple[str, int], ...]
    steps: int
    seconds: float
    trace: int


class Simulation:
    """All that lives in one seed."""

    def __init__(self, seed: int, options: Options) -> None:
        self.seed = seed
        self.options = options
        self.random = seeded(seed)
        self.world = World(self.random)
        self.scheduler = SimScheduler(self)
        self.workers: dict[str, SimWorker] = {}
        self.clients: list[SimClient] = []
        self.keeper = SimKeeper(self, self._incarnation())
        self.counts: dict[str, int] = {}
        self.calm_at = 0.0
        self.losses = 0
        self._muted: dict[Process, None] = {}
        self._cuts: dict[tuple[str, str], float] = {}
        self._isolated: dict[str, float] = {}
        self._nonsense: list[End] = []
        self._born = 0
        self._names: dict[str, Process] = {}

    @property
    def audit(self) -> Audit:
        """What must hold."""
        return self.scheduler.audit

    # ---- peers ------------------------------------------------------------------------------------------------------

    def _incarnation(self) -> str:
        return f"{self.random.getrandbits(64):016x}"

    def add_worker(self) -> SimWorker:
        """Start a worker."""
        self._born += 1
        worker = SimWorker(self, self._incarnation(), f"w{self._born}", self.random.choice((1, 1, 2, 4)))
        self.workers[worker.incarnation] = worker
        self._names[worker.incarnation] = worker
        worker.start()
        return worker

    def add_client(self) -> SimClient:
        """Start a client."""
        client = SimClient(self, self._incarnation())
        self.clients.append(client)
        self._names[client.incarnation] = client
        client.start()
        return client

    def worker_at(self, address: str) -> SimWorker | None:
        """The living worker at an address."""
        return next((worker for worker in self.workers.values() if worker.address == address), None)

    def lose_worker(self, silently: bool) -> bool:
        """A worker dies without a word, and another starts a little later."""
        worker = self.random.choice(list(self.workers.values()))
        self._bury(worker, silently)
        return True

    def worker_stops(self, worker: SimWorker) -> None:
        """A worker ends by itself, as it was told to or because it cannot find the scheduler."""
        if worker.alive:
            self._bury(worker, silently=False)

    def _bury(self, worker: SimWorker, silently: bool) -> None:
        del self.workers[worker.incarnation]
        self.mute(worker)
        worker.die(silently)
        self.add_worker_later()

    def _start_worker(self) -> None:
        self.add_worker()

    def add_worker_later(self) -> None:
        """Whoever looks after the workers starts another one; there is always one at least."""
        if self.workers:
            self.world.after(self.random.uniform(0.0, 0.5), self._start_worker)
        else:
            self._start_worker()

    # ---- what faults leave behind -----------------------------------------------------------------------------------

    def disturbed_for(self, seconds: float) -> None:
        """A fault lasts this long from now."""
        self.calm_at = max(self.calm_at, self.world.now + seconds)

    def mute(self, *processes: Process) -> None:
        """The scheduler may have reason to give these up."""
        self._muted.update(dict.fromkeys(processes))

    def talks_nonsense(self, end: End) -> None:
        """The connection must be closed by the other end."""
        end.nonsense = True
        self._nonsense.append(end)

    def cut(self, one: SimWorker, other: SimWorker, seconds: float) -> None:
        """Two workers cannot reach each other for a while."""
        until = self.world.now + seconds
        self._cuts[one.incarnation, other.incarnation] = self._cuts[other.incarnation, one.incarnation] = until

    def isolate(self, worker: SimWorker, seconds: float) -> None:
        """A worker cannot reach the scheduler for a while."""
        self._isolated[worker.incarnation] = self.world.now + seconds

    def is_isolated(self, worker: SimWorker) -> bool:
        """Whether a worker cannot reach the scheduler now."""
        return self._isolated.get(worker.incarnation, 0.0) > self.world.now

    def is_cut(self, one: SimWorker, other: SimWorker) -> bool:
        """Whether one worker cannot reach another now."""
        return self._cuts.get((one.incarnation, other.incarnation), 0.0) > self.world.now

    def dropped(self, incarnation: str, reason: str) -> None:
        """The scheduler has given up a peer, or refused it: there must be a reason."""
        if reason.startswith("the worker had been told to leave"):
            return
        peer = self._names[incarnation]
        if isinstance(peer, SimClient):
            is_away = not peer.alive or not peer.connected or bool(peer.machine.away) or peer in self._muted
            expired = is_away and reason.startswith("it was away")
            peer.given_up |= expired
            if expired or (reason.startswith("it has released") and peer.given_up):
                return
        elif reason.startswith("nothing heard") and peer in self._muted:
            self.losses += 1
            return
        raise SimulationError(f"the scheduler dropped {incarnation} without need: {reason}")

    def expelled(self, incarnation: str) -> None:
        """The scheduler has closed the connection of a peer that sent nonsense."""
        peer = self._names[incarnation]
        if isinstance(peer, SimClient):
            peer.given_up = True

    def left(self, incarnation: str) -> None:
        """The scheduler has lost its connection with a peer."""
        process = self._names[incarnation]
        self.losses += isinstance(process, SimWorker) and not process.planned

    def may_be_cancelled(self, keys: Iterable[Key]) -> None:
        """Somebody cancels these, and with them what depends on them."""
        for client in self.clients:
            gone = client.may_be_cancelled
            gone.update(dict.fromkeys(keys))
            for each in self.clients:
                for key, task in each.graph.items():
                    if any(dep in gone for dep in task.deps):
                        gone[key] = None

    def excuses(self, text: str) -> bool:
        """Whether a failure that the scheduler itself has decided on was to be expected."""
        if text.startswith("KilledWorkerError"):
            return self.losses >= KILLS_MIN
        return "could not get its input" in text and max(self.audit.failed_fetches.values(), default=0) >= UNFETCHED_MIN

    # ---- the run ----------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Submit, disturb, wait, compare, release, and look for what is left."""
        for _ in range(self.random.choice((1, 2, 3, 5))):
            self.add_worker()
        for number in range(self.random.choice((1, 1, 2, 3))):
            self._plan_graph(self.add_client(), number)
        tasks: dict[Key, SimTask] = {}
        for client in self.clients:
            tasks |= client.graph
        work = sum(task.seconds for task in tasks.values())
        self._plan_faults(0.3 + work / sum(worker.nthreads for worker in self.workers.values()))
        self._until("all futures have their outcome", self._settled, 3 * GIVEN_UP_S + 2 * work + SLACK_S)
        self._compare()
        self._check_runs(tasks)
        self._until("nobody listens to those who have sent nonsense", self._refused, CLEAN_S)
        self._until("the scheduler knows where the data is", self._copies_agree, CLEAN_S)
        self.audit.whole()
        for client in self.clients:
            client.release_all()
        self._until("nothing is left", self._clean, CLEAN_S)
        self.audit.whole()
        self.audit.replay()
        executed = sum(self.audit.runs.values())
        counts = tuple(sorted(self.counts.items()))
        return Report(self.seed, len(tasks), executed, counts, self.world.steps, self.world.now, self.world.trace)

    def _plan_graph(self, client: SimClient, number: int) -> None:
        random = self.random
        size = random.choice((3, 30, 150))
        client.graph = random_graph(random, f"task{number}", size, random.choice((0.0, 0.0, 0.05)))
        keys = list(client.graph)
        client.wanted = dict.fromkeys(random.sample(keys, random.randint(1, len(keys))))
        moment = random.uniform(0.0, 0.1)
        self.disturbed_for(moment)
        client.after(moment, client.submit)

    def _plan_faults(self, horizon: float) -> None:
        random = self.random
        names = list(FAULTS if self.options.faults is None else self.options.faults)
        if not names:
            return
        chosen = random.sample(names, min(len(names), random.choice((1, 2, 4, len(names)))))
        for _ in range(random.choice((0, 1, 2, 4, 8))):
            moment = random.uniform(0.0, horizon)
            self.disturbed_for(moment)
            self._plan(moment, random.choice(chosen))

    def _plan(self, moment: float, name: str) -> None:
        def strike() -> None:
            if FAULTS[name](self):
                self.counts[name] = self.counts.get(name, 0) + 1

        self.world.at(moment, strike)

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _until(self, what: str, condition: Callable[[], bool], seconds: float) -> None:
        begin = self.world.now
        while not condition():
            if not self.world.step() or self.world.now > max(self.calm_at, begin) + seconds:
                raise SimulationError(f"after {self.world.now:.1f} virtual seconds it is not true that {what}")

    def _settled(self) -> bool:
        if self.world.now <= self.calm_at:  # who goes on just then has things to do
            return False
        clients = [client for client in self.clients if client.connected]
        return not any(not client.submitted or client.open_keys() or client.open_requests() for client in clients)

    def _compare(self) -> None:
        for client in self.clients:
            wrong = client.wrong_keys() if client.connected else ()
            for key, problem in wrong:
                raise SimulationError(f"{key!r} {problem}")

    def _check_runs(self, tasks: dict[Key, SimTask]) -> None:
        """Unless something went wrong, what is needed runs once; the rest at most once, while its graph still arrives."""
        if any(name not in HARMLESS for name in self.counts):
            return
        needed: dict[Key, None] = {}
        stack = [key for client in self.clients for key in client.wanted]
        while stack:
            key = stack.pop()
            if key not in needed:
                needed[key] = None
                stack.extend(tasks[key].deps)
        sound = not any(task.raises for task in tasks.values())
        for key, task in tasks.items():
            runs = self.audit.runs.get(key, 0)
            most = 1 + min(task.raises, task.retries)
            if runs > most or (sound and key in needed and runs < most):
                raise SimulationError(f"{runs} runs of {key!r} instead of {most} although nothing went wrong")

    def _refused(self) -> bool:
        """Whether everybody who has sent nonsense has lost the connection."""
        return all(end.other.closed or not end.process.alive or not end.other.process.alive for end in self._nonsense)

    def _copies_agree(self) -> bool:
        return not self.audit.disputed_copies()

    def _clean(self) -> bool:
        core = self.scheduler.machine.core
        return (
            not core.tasks
            and not core.functions.keys() - {FUNC_ID}
            and not any(self._is_burdened(worker) for worker in self.workers.values())
            and not any(ws.abandoned or ws.assigned for ws in core.workers.values())
        )

    def _is_burdened(self, worker: SimWorker) -> bool:
        store, machine = worker.store, worker.machine
        return bool(store.copies() or store.nbytes or machine.tasks or machine.data)


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
