"""What a worker offers other processes of its host instead of sending it.

The first who asks for a large value gets it through a pipe: one copy, into memory of his own, and nothing remains here.
Whoever asks after him gets a segment to map, which is filled once for all of them: a value that goes to everybody on a
host is there twice or three times, however many they are.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...protocol.blob import Blob, Payload
from ...protocol.shared import SHARED_BYTES_MIN, PipedBlob, SharedBlob
from ...transport.pipes import Outflows
from ...transport.segments import Segment, Segments
from ...transport.shared import place
from ..events import Copy
from ..store import Store


class Sharing:
    """Pipes and segments for the values of a store.

    Parameters
    ----------
    limit : int
        Bytes of all segments at most.

    Notes
    -----
    For the event loop's thread, but for ``segments``.
    """

    def __init__(self, limit: int) -> None:
        #: of the processes that can open what we offer; empty: none can
        self.place = place()
        self.segments = Segments(limit)
        self._outflows = Outflows()
        self._offered: dict[Copy, None] = {}  # somebody has asked for these before

    def was_offered(self, copy: Copy) -> bool:
        """Whether somebody has asked for this before, so that it is worth a segment."""
        return copy in self._offered

    def find(self, copy: Copy) -> SharedBlob | None:
        """The segment of this copy, if there is one."""
        return self.segments.find(copy) if copy in self._offered else None

    def offer(self, copy: Copy, payload: Payload | SharedBlob) -> Payload | SharedBlob | PipedBlob:
        """What to tell who has asked for this copy."""
        if not isinstance(payload, Blob) or payload.nbytes < SHARED_BYTES_MIN:
            return payload
        self._offered[copy] = None
        return self._outflows.start(payload) or payload

    def forget(self, copies: Iterable[Copy]) -> list[Segment]:
        """These are not in the store any more; returns segments to warm up."""
        if not self._offered:
            return []
        gone = [copy for copy in copies if copy in self._offered]
        for copy in gone:
            del self._offered[copy]
        return self.segments.forget(gone)

    def sweep(self, store: Store) -> None:
        """Give back memory that has not been used for a while; call now and then."""
        self.segments.sweep(lambda copy: store.find(*copy) is not None)
        for copy in [copy for copy in self._offered if store.find(*copy) is None]:
            del self._offered[copy]  # replaced by a newer attempt

    def close(self) -> None:
        """Offer nothing any more."""
        self.place = ""
        self._outflows.close()
        self.segments.close()
