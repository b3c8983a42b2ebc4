"""Which inputs to fetch from whom: one request at a time per peer, bounded in bytes and rows.

Each wanted input stands in the queue of one of its holders: one on this host if there is one, else the one with the
fewest bytes to send us. When a holder fails, the input moves to the next; when none is left, the tasks that need it
are given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

from ..base.errors import InternalError
from ..base.keys import Key
from ..base.limits import MIB, ROWS_PER_MESSAGE_MAX
from ..protocol.messages import Row
from .events import Fetch
from .state import Task

#: Bytes asked of one peer in one request; a single larger input is asked for alone.
REQUEST_BYTES_MAX: Final = 64 * MIB
#: A peer that has been silent for this long while it owes us an answer is given up: it may be long at pickling, or a task
#: there may hold the interpreter lock.
STALLED_S: Final = 30.0
#: Others are asked as well after this long; and a peer whose very machine has been silent for so long is given up.
SLOW_S: Final = 8.0
#: A worker that is listed as a holder listens already; if its machine does not take a connection, it is gone.
REACH_TIMEOUT_S: Final = 3.0


class Want:
    """Data that this worker lacks, and that waiting tasks need or the scheduler wants copied."""

    __slots__ = ("acquired", "attempt", "failed", "holders", "key", "made_here", "nbytes", "peer", "tasks")

    def __init__(self, key: Key, attempt: int, nbytes: int, holders: list[str]) -> None:
        self.key = key
        self.attempt = attempt
        self.nbytes = nbytes
        #: addresses not tried yet
        self.holders = holders
        #: addresses tried in vain
        self.failed: list[str] = []
        #: who waits, by attempt
        self.tasks: dict[int, Task] = {}
        #: whether the scheduler itself asked for a copy
        self.acquired = False
        #: in whose queue or request it is
        self.peer: Peer | None = None
        #: whether nobody is asked, as a run of this worker is to make it
        self.made_here = False

    def __repr__(self) -> str:
        return f"<Want {self.key!r} attempt {self.attempt} for {len(self.tasks)} tasks>"


class Peer:
    """A worker we are fetching from. It is forgotten when nothing is left to ask of it."""

    __slots__ = ("address", "asked", "load", "queue", "request")

    def __init__(self, address: str) -> None:
        self.address = address
        #: to be asked, in this order
        self.queue: dict[Key, Want] = {}
        #: asked for in the request under way
        self.asked: dict[Key, Want] = {}
        #: number of the request under way, 0 if none
        self.request = 0
        #: bytes queued and asked for
        self.load = 0


class Fetches:
    """The table of wanted inputs.

    Parameters
    ----------
    address : str
        This worker's own address: holders on its host are preferred.
    turn : int
        Where to start among equally good holders; should differ from worker to worker.
    """

    def __init__(self, address: str, turn: int) -> None:
        self._host = _host(address)
        self._turn = turn
        self._requests = 0
        self._idle: dict[str, Peer] = {}
        self.peers: dict[str, Peer] = {}
        self.wants: dict[Key, Want] = {}

    # ---- what is wanted ---------------------------------------------------------------------------------------------

    def require(
        self, task: Task, deps: tuple[Key, ...], locations: tuple[Row, ...], data: Mapping[Key, tuple[int, int, str]]
    ) -> Want | None:
        """Make ``task`` wait for those of its inputs that are not here; returns one that nobody can be asked for, if any."""
        hopeless: Want | None = None
        for key, attempt, nbytes, addresses in locations:
            held = data.get(key)
            if held is None or held[0] < attempt:
                want = self.want(task, key, attempt, nbytes, addresses)
                if want.peer is None and not want.made_here:
                    hopeless = want
        if self.wants:
            for key in deps:
                if key not in data and key not in task.missing and key in self.wants:
                    self.join(task, self.wants[key])
        return hopeless

    def await_run(self, task: Task, key: Key, attempt: int) -> None:
        """Make ``task`` wait for what another run of this worker makes."""
        want = self._open(key, attempt, 0, ())
        if want.peer is None:
            want.made_here = True
        self.join(task, want)

    def want(self, task: Task, key: Key, attempt: int, nbytes: int, addresses: tuple[str, ...]) -> Want:
        """Make ``task`` wait for an input. If there is nobody to ask, the want returned has no ``peer``."""
        want = self._open(key, attempt, nbytes, addresses)
        self.join(task, want)
        return want

    def acquire(self, key: Key, attempt: int, nbytes: int, addresses: tuple[str, ...]) -> Want:
        """Get a copy for its own sake. If there is nobody to ask, the want returned has no ``peer``."""
        want = self._open(key, attempt, nbytes, addresses)
        want.acquired = True
        return want

    def _open(self, key: Key, attempt: int, nbytes: int, addresses: tuple[str, ...]) -> Want:
        """The want of this copy; one of an older attempt is replaced, who waits for it waits for the newer one."""
        want = self.wants.get(key)
        if want is not None and want.attempt >= attempt:
            return want
        older, want = want, Want(key, attempt, nbytes, list(addresses))
        self.wants[key] = want
        if older is not None:
            self._unqueue(older)
            want.acquired = older.acquired
            want.tasks = older.tasks
            for waiting in want.tasks.values():
                waiting.missing[key] = want
        if addresses:
            self._enqueue(want)
        return want

    def join(self, task: Task, want: Want) -> None:
        """Make ``task`` wait for an input that is wanted already."""
        want.tasks[task.attempt] = task
        task.missing[want.key] = want

    def leave(self, task: Task) -> None:
        """``task`` needs its inputs no longer."""
        for want in task.missing.values():
            del want.tasks[task.attempt]
            if not want.tasks and not want.acquired:
                self.forget(want)
        task.missing = {}

    def arrived(self, want: Want) -> list[Task]:
        """The input is here; returns the tasks that lack nothing any more."""
        self.forget(want)
        complete = []
        for task in want.tasks.values():
            del task.missing[want.key]
            if not task.missing:
                complete.append(task)
        return complete

    # ---- whom to ask ------------------------------------------------------------------------------------------------

    def plan(self) -> list[Fetch]:
        """The requests to make now: one for each peer that has none under way."""
        idle, self._idle = self._idle, {}
        requests = []
        for peer in idle.values():
            self._take(peer)
            if peer.asked:
                self._requests += 1
                peer.request = self._requests
                rows = tuple((want.key, want.attempt) for want in peer.asked.values())
                requests.append(Fetch(peer.address, peer.request, rows))
            else:
                del self.peers[peer.address]
        return requests

    def _take(self, peer: Peer) -> None:
        nbytes = 0
        for want in islice(peer.queue.values(), ROWS_PER_MESSAGE_MAX):
            nbytes += want.nbytes
            if peer.asked and nbytes > REQUEST_BYTES_MAX:
                break
            peer.asked[want.key] = want
        for key in peer.asked:
            del peer.queue[key]

    def answered(self, address: str, request: int) -> dict[Key, Want]:
        """The request ended, well or badly. Returns what it asked for; nothing if it is not the one under way.

        What did not arrive is to be passed to ``failed`` by the caller.
        """
        peer = self.peers.get(address)
        if peer is None or peer.request != request:
            return {}
        asked, peer.asked = peer.asked, {}
        peer.request = 0
        for want in asked.values():
            peer.load -= want.nbytes
            if want.peer is peer:
                want.peer = None
        self._idle[address] = peer
        return asked

    def ask_others(self, address: str, request: int) -> None:
        """A peer keeps us waiting: ask other holders for what they have as well. What it sends after all is welcome."""
        peer = self.peers.get(address)
        if peer is None or peer.request != request:
            return
        for want in [want for want in peer.asked.values() if want.holders]:
            del peer.asked[want.key]
            peer.load -= want.nbytes
            if want.peer is peer:
                want.peer = None
                self._move(want, address)
        for want in [want for want in peer.queue.values() if want.holders]:
            self._unqueue(want)
            self._move(want, address)

    def _move(self, want: Want, address: str) -> None:
        """Have another holder asked; this one may be asked again later."""
        self._enqueue(want)
        want.holders.append(address)

    def drain(self, address: str) -> list[Want]:
        """Take everything out of the queue of a peer that cannot be reached."""
        peer = self.peers.get(address)
        if peer is None:
            return []
        queued = list(peer.queue.values())
        for want in queued:
            self._unqueue(want)
        return queued

    def failed(self, want: Want, address: str) -> bool:
        """``address`` did not deliver; returns whether there is another holder to try."""
        want.failed.append(address)
        if want.peer is None and want.holders and self.wants.get(want.key) is want:
            self._enqueue(want)
        return want.peer is not None

    def _enqueue(self, want: Want) -> None:
        address = self._choose(want.holders)
        want.holders.remove(address)
        peer = self.peers.get(address)
        if peer is None:
            peer = self.peers[address] = Peer(address)
        want.peer = peer
        peer.queue[want.key] = want
        peer.load += want.nbytes
        if not peer.request:
            self._idle[address] = peer

    def _choose(self, holders: list[str]) -> str:
        count = len(holders)
        if count == 1:
            return holders[0]
        self._turn += 1

        def badness(index: int) -> tuple[bool, int, int]:
            peer = self.peers.get(holders[index])
            return _host(holders[index]) != self._host, peer.load if peer else 0, (index - self._turn) % count

        return holders[min(range(count), key=badness)]

    def forget(self, want: Want) -> None:
        """Take a want out of the table."""
        if self.wants.get(want.key) is want:
            del self.wants[want.key]
        self._unqueue(want)

    def _unqueue(self, want: Want) -> None:
        """Take it out of its queue; what is being asked for stays so until it is answered."""
        peer = want.peer
        if peer is not None:
            want.peer = None
            if peer.queue.get(want.key) is want:
                del peer.queue[want.key]
                peer.load -= want.nbytes

    # ---- for tests --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Recompute what is derived; raise InternalError where it differs."""
        for key, want in self.wants.items():
            peer = want.peer
            if want.key != key or not (want.tasks or want.acquired):
                raise InternalError(f"{want!r} is wanted by nobody")
            if want.made_here:
                if peer is not None:
                    raise InternalError(f"{want!r} is made here and asked for")
                continue
            if peer is None or self.peers.get(peer.address) is not peer:
                raise InternalError(f"{want!r} is wanted of nobody")
            if (peer.queue.get(key) is want) is (peer.asked.get(key) is want):
                raise InternalError(f"{want!r} is in no queue of {peer.address}, or is asked for as well")
        for peer in self.peers.values():
            if any(want.peer is not peer or self.wants.get(key) is not want for key, want in peer.queue.items()):
                raise InternalError(f"what nobody wants of {peer.address} is in its queue")
            if peer.load != sum(want.nbytes for want in (*peer.queue.values(), *peer.asked.values())):
                raise InternalError(f"load of {peer.address} is {peer.load}")
            if (peer.asked and not peer.request) or (not peer.request and peer.address not in self._idle):
                raise InternalError(f"{peer.address} is neither asked nor about to be")


def _host(address: str) -> str:
    """The part of an address that two workers of one host share."""
    return address.rpartition(":")[0]
