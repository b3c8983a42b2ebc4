"""Values that go through the scheduler, unread: for clients that cannot reach the workers themselves."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.errors import ProtocolError
from ..base.keys import Key
from ..base.limits import ROWS_PER_MESSAGE_MAX
from ..protocol.blob import Payload
from ..protocol.messages import DATA, GATHER, Message
from .core import Core
from .state import ERRED, FORGOTTEN, MEMORY, RELEASED, ClientState, TaskState, WorkerState


class Fetch:
    """One FETCH of a client, until all its keys are settled."""

    __slots__ = ("client", "got", "missing", "open", "request")

    def __init__(self, client: ClientState, request: int, keys: tuple[Key, ...]) -> None:
        self.client = client
        self.request = request
        self.open: dict[Key, None] = dict.fromkeys(keys)
        self.got: list[tuple[Key, Payload]] = []
        self.missing: list[tuple[Key, str]] = []


def _linked(holders: Sequence[WorkerState]) -> WorkerState | None:
    """A holder that can be asked; None while all are away."""
    return next((ws for ws in holders if ws.absence is None), None)


class Relay:
    """All fetches under way."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.waiting: dict[Key, list[Fetch]] = {}  # keys whose data is not in memory yet
        self.asked: dict[int, tuple[WorkerState, Fetch, tuple[tuple[Key, int], ...]]] = {}  # by number of the GATHER
        self.last_gather = 0
        self.parked: list[Fetch] = []  # could be answered, but the client is away

    def on_fetch(self, client: ClientState, message: Message) -> None:
        """A client wants values through us."""
        _, request, keys = message
        if len(keys) > ROWS_PER_MESSAGE_MAX:
            raise ProtocolError(f"FETCH of {len(keys)} keys, at most {ROWS_PER_MESSAGE_MAX} are allowed")
        fetch = Fetch(client, request, keys)
        self._ask(fetch, list(fetch.open))
        self._answer(fetch)

    def _ask(self, fetch: Fetch, keys: list[Key]) -> None:
        core = self.core
        by_worker: dict[WorkerState, list[tuple[Key, int]]] = {}
        for key in keys:
            ts = core.tasks.get(key)
            if ts is None or ts.status is FORGOTTEN:
                self._settle(fetch, key, f"the scheduler does not know {key!r} (any more)")
            elif ts.status is ERRED:
                assert ts.failure is not None
                self._settle(fetch, key, ts.failure.text)
            elif ts.status is MEMORY and (ws := _linked(ts.holders)) is not None:
                by_worker.setdefault(ws, []).append((key, ts.attempt))
            else:
                self.waiting.setdefault(key, []).append(fetch)
                if ts.status is RELEASED:
                    core.ensure(ts)
        for ws, rows in by_worker.items():
            for start in range(0, len(rows), ROWS_PER_MESSAGE_MAX):
                part = tuple(rows[start : start + ROWS_PER_MESSAGE_MAX])
                self.last_gather += 1
                self.asked[self.last_gather] = (ws, fetch, part)
                core.row(ws, GATHER, (self.last_gather, part))

    def on_data(self, ws: WorkerState, message: Message) -> None:
        """A worker answers a GATHER."""
        _, number, rows, missing = message
        asked = self.asked.get(number)
        if asked is None or asked[0] is not ws:
            self.core.stale["answers"] += 1
            return
        del self.asked[number]
        _, fetch, wanted = asked
        attempts = dict(wanted)
        again: list[Key] = []
        for key, payload in rows:
            if key in fetch.open:
                del fetch.open[key]
                fetch.got.append((key, payload))
        for key, reason in missing:
            ts = self.core.tasks.get(key)
            if ts is not None and ts.status is MEMORY and ts.attempt == attempts.get(key) and ws not in ts.holders:
                again.append(key)
            elif ts is None or ts.attempt == attempts.get(key):
                self._settle(fetch, key, reason)
            else:
                again.append(key)
        self._ask(fetch, [key for key in again if key in fetch.open])
        self._answer(fetch)

    def on_arrived(self, arrived: list[TaskState]) -> None:
        """These tasks were settled in this batch: go on with the fetches that waited for them."""
        for ts in arrived:
            for fetch in self.waiting.pop(ts.key, ()):
                if ts.key in fetch.open:
                    self._ask(fetch, [ts.key])
                    self._answer(fetch)

    def on_worker_left(self, ws: WorkerState) -> None:
        """Ask others for what this worker was asked, or was waited for to be asked."""
        for number in [number for number, asked in self.asked.items() if asked[0] is ws]:
            _, fetch, rows = self.asked.pop(number)
            self._ask(fetch, [key for key, _ in rows if key in fetch.open])
            self._answer(fetch)
        waited_for = [self.core.tasks[key] for key in self.waiting if key in self.core.tasks]
        self.on_arrived([ts for ts in waited_for if ts.status in (RELEASED, MEMORY)])

    def on_client_left(self, client: ClientState) -> None:
        """Nobody waits for its fetches any more."""
        self.asked = {number: asked for number, asked in self.asked.items() if asked[1].client is not client}
        self.parked = [fetch for fetch in self.parked if fetch.client is not client]
        for key, fetches in list(self.waiting.items()):
            remaining = [fetch for fetch in fetches if fetch.client is not client]
            if remaining:
                self.waiting[key] = remaining
            else:
                del self.waiting[key]

    def on_client_back(self, client: ClientState) -> None:
        """Go on with what could not be answered while the client was away."""
        mine = [fetch for fetch in self.parked if fetch.client is client]
        self.parked = [fetch for fetch in self.parked if fetch.client is not client]
        for fetch in mine:
            self._ask(fetch, list(fetch.open))
            self._answer(fetch)

    def _settle(self, fetch: Fetch, key: Key, reason: str) -> None:
        if key in fetch.open:
            del fetch.open[key]
            fetch.missing.append((key, reason))

    def _answer(self, fetch: Fetch) -> None:
        """Send what is there once nothing is open. For a client that is away no values are kept: they are asked for again."""
        if fetch.open:
            return
        if fetch.client.away_since is not None:
            fetch.open = dict.fromkeys(key for key, _ in fetch.got)
            fetch.got = []
            self.parked.append(fetch)
        else:
            self.core.message(fetch.client, (DATA, fetch.request, tuple(fetch.got), tuple(fetch.missing)))
