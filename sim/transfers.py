"""Data links between simulated workers: GET_DATA and DATA through the real codec, and what goes wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ..base.items import base_of
from ..protocol import messages as m
from ..protocol.messages import Message, Role, Row
from ..worker import events as e
from ..worker.fetching import REACH_TIMEOUT_S, SLOW_S, STALLED_S
from .graphs import part_of
from .links import End, connect

if TYPE_CHECKING:
    from .workers import SimWorker

#: What a value takes where it has been fetched.
_VALUE_BYTES: Final = 8


class Transfers:
    """What a worker fetches, and what it serves.

    Parameters
    ----------
    worker : SimWorker
        Whose transfers these are.
    """

    def __init__(self, worker: SimWorker) -> None:
        self.worker = worker
        self.dialled: dict[str, End] = {}  # by address
        self.accepted: dict[End, None] = {}
        self._asked: dict[End, e.Fetch] = {}

    @property
    def ends(self) -> list[End]:
        """All its ends of data links."""
        return [*self.dialled.values(), *self.accepted]

    # ---- fetching ---------------------------------------------------------------------------------------------------

    def fetch(self, fetch: e.Fetch) -> None:
        """Perform one instruction."""
        worker = self.worker
        end = self.dialled.get(fetch.address)
        if end is None:
            peer = worker.simulation.worker_at(fetch.address)
            if peer is None or worker.simulation.is_cut(worker, peer):
                random = worker.world.random
                wait = REACH_TIMEOUT_S if random.random() < 0.1 else random.expovariate(1 / 0.001)
                worker.after(wait, lambda: self._failed(fetch))
                return
            end = self._dial(peer)
        self._asked[end] = fetch
        end.send([(m.GET_DATA, fetch.request, fetch.rows)])
        self._watch(end, fetch)

    def _dial(self, peer: SimWorker) -> End:
        worker = self.worker
        end = End(worker, worker.incarnation, peer.incarnation, Role.WORKER)
        other = End(peer, peer.incarnation, worker.incarnation, Role.WORKER)
        connect(end, other)
        end.on_messages = lambda messages: self._answered(end, messages)
        end.on_closed = lambda reason: self._closed(peer.address, end)
        other.on_messages = lambda messages: peer.transfers.serve(other, messages)
        other.on_closed = lambda reason: peer.transfers.left(other)
        self.dialled[peer.address] = end
        peer.transfers.accepted[other] = None
        return end

    def _watch(self, end: End, fetch: e.Fetch) -> None:
        """Look again when the answer is overdue."""
        worker, since = self.worker, self.worker.world.now

        def look(limit: float) -> None:
            if self._asked.get(end) is not fetch:
                return
            silent = worker.world.now - max(end.last_read, since)
            if silent < limit - 1e-6:
                worker.after(limit - silent, lambda: look(limit))
            elif limit == STALLED_S:
                end.close("no byte came for too long")
            else:
                worker.feed(e.FetchStalled(fetch.address, fetch.request))
                peer = worker.simulation.worker_at(fetch.address)
                if peer is not None and worker.simulation.is_cut(worker, peer):
                    end.close("its machine is silent")
                else:
                    worker.after(STALLED_S - silent, lambda: look(STALLED_S))

        worker.after(SLOW_S, lambda: look(SLOW_S))

    def _answered(self, end: End, messages: tuple[Message, ...]) -> None:
        for message in messages:
            fetch = self._asked.pop(end, None)
            if message[0] != m.DATA or fetch is None or message[1] != fetch.request:
                end.close("an answer to nothing")
                return
            attempts = dict(fetch.rows)
            got = [(key, attempts[key], int(payload)) for key, payload in message[2] if key in attempts]
            for key, attempt, value in got:
                self.worker.store.put(key, attempt, value, _VALUE_BYTES)
            rows = [(key, attempt, _VALUE_BYTES) for key, attempt, _ in got]
            absent = [key for key, _ in message[3]]
            self.worker.simulation.audit.unfetched(list(map(base_of, absent)))
            self.worker.feed(e.FetchEnded(fetch.address, fetch.request, rows, absent, []))

    def _closed(self, address: str, end: End) -> None:
        if self.dialled.get(address) is end:
            del self.dialled[address]
        fetch = self._asked.pop(end, None)
        if fetch is not None:
            self._failed(fetch)

    def _failed(self, fetch: e.Fetch) -> None:
        self.worker.simulation.audit.unfetched([base_of(key) for key, _ in fetch.rows])
        self.worker.feed(e.FetchFailed(fetch.address, fetch.request))

    # ---- serving ----------------------------------------------------------------------------------------------------

    def serve(self, end: End, messages: tuple[Message, ...]) -> None:
        """Answer the requests of a peer."""
        for message in messages:
            if message[0] != m.GET_DATA:
                end.close(f"op {message[0]} means nothing on a data link")
                return
            end.send([(m.DATA, message[1], *self.pack(message[2]))])

    def pack(self, copies: Iterable[e.Copy]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Rows of those copies that are in the store, and those that are missing; attempt 0 means any."""
        rows: list[Row] = []
        missing: list[Row] = []
        for key, attempt in copies:
            entry = self.worker.store.find(base_of(key), attempt)
            if entry is None:
                missing.append((key, e.NOT_HELD))
            else:
                rows.append((key, str(part_of(entry[1], key)).encode()))
        return tuple(rows), tuple(missing)

    def left(self, end: End) -> None:
        """A peer has gone."""
        self.accepted.pop(end, None)
