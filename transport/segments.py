"""The segments that this process shares with others of its host (``protocol/shared.py``): making, filling, using again.

Writing into memory that the kernel has to find and clear first takes several times as long as writing into memory that
has been written to before. So segments are kept for a while after their data has gone, and used again.

When may one be used again? When nobody else has it open, and nobody who was told of it can still come to open it. The
first is known by the kernel, however processes die: it grants a write lease only for a file that nobody else has open
or mapped. The second is done by changing the token in the segment's header before asking the kernel.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import signal
import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final, TypeAlias

from ..base.keys import Key
from ..base.limits import KIB, MIB
from ..protocol.blob import Blob
from ..protocol.shared import HEADER, MAGIC, TOKEN_BYTES, SharedBlob, Spans, lay_out
from .shared import SEALS, place

logger = logging.getLogger(__name__)

#: A key and the attempt that made its value.
Owner: TypeAlias = tuple[Key, int]

#: Segments at most; each takes two descriptors.
SEGMENTS_MAX: Final = 128
#: A segment that holds no data is given back after this time. One whose data nobody has open is emptied after it.
IDLE_S: Final = 10.0
#: How long whoever was told of a segment is given to open it.
GRACE_S: Final = 5.0
#: What one step copies, or finds memory for, while it holds the GIL: tens of microseconds.
_STEP_BYTES: Final = 256 * KIB
_WRITE_BYTES: Final = 64 * MIB
#: A segment may be this much larger than what is put into it.
_WASTE_MAX: Final = 2
_F_SETSIG: Final = 10
_MADV_POPULATE_WRITE: Final = 23
_NOEXEC_SEAL: Final = 8  # of memfd_create, since Linux 6.3


class Segment:
    """Memory that others may map. Made with its first data, which the kernel writes faster than we could."""

    __slots__ = ("descriptor", "memory", "nbytes", "owner", "shared", "used_at", "warm")

    def __init__(self, nbytes: int, blob: Blob, spans: Spans) -> None:
        self.nbytes = nbytes
        #: whose data it holds; None: nobody's
        self.owner: Owner | None = None
        self.used_at = 0.0
        #: whether our own page tables know the memory
        self.warm = False
        token = os.urandom(TOKEN_BYTES)
        writable = _create()
        try:
            os.ftruncate(writable, nbytes)
            for (offset, _), buffer in zip(spans, blob.buffers, strict=True):
                _write(writable, memoryview(buffer).cast("B"), offset)
            _write(writable, memoryview(HEADER.pack(MAGIC, token)), 0)
            self.memory = mmap.mmap(writable, nbytes)
            self.memory.madvise(mmap.MADV_DONTFORK)
            fcntl.fcntl(writable, fcntl.F_ADD_SEALS, SEALS | fcntl.F_SEAL_SEAL)
            # Opened like others do: the kernel counts that one as ours, and grants the lease if there is no other.
            self.descriptor = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writable)
        fcntl.fcntl(self.descriptor, _F_SETSIG, signal.SIGURG)  # ignored by default, unlike SIGIO
        self.shared = SharedBlob(os.getpid(), self.descriptor, token, spans)

    def refill(self, blob: Blob, spans: Spans) -> None:
        """Put other data in. The segment must be empty and unused."""
        memory = self.memory
        for (offset, length), buffer in zip(spans, blob.buffers, strict=True):
            source = memoryview(buffer).cast("B")
            for start in range(0, length, _STEP_BYTES):
                stop = min(start + _STEP_BYTES, length)
                memory[offset + start : offset + stop] = source[start:stop]
        self.shared = SharedBlob(os.getpid(), self.descriptor, self._stamp(), spans)

    def empty(self) -> None:
        """Let nobody open it from now on."""
        self.owner = None
        self.used_at = time.monotonic()
        self._stamp()

    def _stamp(self) -> bytes:
        token = os.urandom(TOKEN_BYTES)
        self.memory[: HEADER.size] = HEADER.pack(MAGIC, token)
        return token

    def warm_up(self, is_wanted: Callable[[], bool]) -> None:
        """Have the kernel enter the memory into our page tables, so that refilling need not; until it is wanted."""
        for start in range(0, self.nbytes, _STEP_BYTES):
            if is_wanted():
                return
            try:
                self.memory.madvise(_MADV_POPULATE_WRITE, start, min(_STEP_BYTES, self.nbytes - start))
            except (OSError, ValueError):  # a kernel before 5.14, or the segment has been closed
                break
        self.warm = True

    @property
    def unused(self) -> bool:
        """Whether no other process has it open or mapped."""
        try:
            fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return False
        fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True

    def close(self) -> None:
        """Let go of it. Whoever has mapped it keeps it; the memory is free when nobody has."""
        self.memory.close()
        os.close(self.descriptor)


class Segments:
    """A bounded pool of segments, each of which holds the data of one owner.

    Parameters
    ----------
    limit : int
        Bytes of all segments at most; what finds no room is not shared.

    Notes
    -----
    All methods may be called from any thread; ``share`` and ``warm_up`` take as long as copying takes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: of the processes that can open these; empty: it does not work here
        self.place = place()
        #: bytes of all segments
        self.nbytes = 0
        self._pid = os.getpid()
        self._closed = False
        self._segments: dict[Segment, None] = {}  # the longest unused first
        self._by_owner: dict[Owner, Segment] = {}
        self._busy: dict[Segment, None] = {}  # being filled
        self._warming: dict[Segment, None] = {}
        self._lock = Lock()  # of the above; held briefly
        self._filling = Lock()  # one at a time: copying is limited by the memory, and nothing is copied twice

    def __len__(self) -> int:
        return len(self._segments)

    # ---- sharing ----------------------------------------------------------------------------------------------------

    def find(self, owner: Owner) -> SharedBlob | None:
        """What is shared of this owner already."""
        with self._lock:
            segment = self._by_owner.get(owner)
            if segment is None:
                return None
            self._touch(segment)
            return segment.shared

    def share(self, owner: Owner, blob: Blob) -> SharedBlob | None:
        """Copy a blob into a segment, unless it is in one already.

        Parameters
        ----------
        owner : tuple of (Key, int)
            Names the data; the same owner never has other data.
        blob : Blob
            The data.

        Returns
        -------
        SharedBlob or None
            None if there is no room, or it does not work here.
        """
        if os.getpid() != self._pid:
            return None  # after a fork the descriptors are the parent's business
        spans, end = lay_out(memoryview(buffer).nbytes for buffer in blob.buffers)
        with self._filling:
            shared = self.find(owner)
            if shared is not None or not self.place:
                return shared
            try:
                segment = self._fill(blob, spans, end)
            except (OSError, ValueError) as error:
                logger.info("results are not shared in memory any more, but sent: %s", error)
                self.place = ""
                return None
            if segment is None:
                return None
            with self._lock:
                segment.owner = owner
                self._by_owner[owner] = segment
                self._touch(segment)
                self._release(segment)
                return None if self._closed else segment.shared

    def _fill(self, blob: Blob, spans: Spans, end: int) -> Segment | None:
        nbytes = _rounded(end)
        with self._lock:
            segment = self._take(end)
            if segment is None and not self._make_room(nbytes):
                return None
        if segment is not None:
            segment.refill(blob, spans)
            return segment
        segment = Segment(nbytes, blob, spans)
        if not _leases_work(segment):
            segment.close()
            raise OSError("this kernel does not tell who has memory open")
        with self._lock:
            self._segments[segment] = self._busy[segment] = None
            self.nbytes += nbytes
        return segment

    def _take(self, end: int) -> Segment | None:
        """The smallest segment that is large enough, empty and unused; it is busy then."""
        fitting = [
            segment
            for segment in self._segments
            if segment.owner is None and end <= segment.nbytes <= _WASTE_MAX * end and segment not in self._busy
        ]
        for segment in sorted(fitting, key=_size):
            if segment.unused:
                self._busy[segment] = None
                return segment
        return None

    def _make_room(self, nbytes: int) -> bool:
        """Let go of segments until there is room for another one: empty ones first, then those not asked for lately."""
        if nbytes > self.limit:
            return False
        latest = time.monotonic() - GRACE_S
        idle = self._idle()
        candidates = [segment for segment in idle if segment.owner is None]
        candidates += [segment for segment in idle if segment.owner is not None and segment.used_at < latest]
        for segment in candidates:
            if self.nbytes + nbytes <= self.limit and len(self._segments) < SEGMENTS_MAX:
                return True
            self._let_go(segment)
        return self.nbytes + nbytes <= self.limit and len(self._segments) < SEGMENTS_MAX

    # ---- letting go -------------------------------------------------------------------------------------------------

    def forget(self, owners: Iterable[Owner]) -> list[Segment]:
        """The data of these is gone.

        Returns
        -------
        list of Segment
            Those to be used again that had better be warmed up before.
        """
        if not self._by_owner:
            return []
        cold: list[Segment] = []
        with self._lock:
            for owner in owners:
                segment = self._by_owner.pop(owner, None)
                if segment is not None:
                    segment.empty()
                    if not segment.warm:
                        cold.append(segment)
        return cold

    def warm_up(self, segment: Segment) -> None:
        """Make refilling it fast."""
        with self._lock:
            if segment not in self._segments or segment.owner is not None or segment in self._busy:
                return
            self._warming[segment] = None
        # Who takes it for other data does not wait: both may touch the memory at once. Only closing has to wait.
        segment.warm_up(lambda: segment.owner is not None or segment in self._busy)
        with self._lock:
            del self._warming[segment]
            if self._closed and segment not in self._busy:
                self._let_go(segment)

    def sweep(self, is_held: Callable[[Owner], bool]) -> None:
        """Give back what has not been used for a while; call now and then.

        Parameters
        ----------
        is_held : callable
            Whether the data of an owner is still there.
        """
        if not self._segments:
            return
        latest = time.monotonic() - IDLE_S
        with self._lock:
            for segment in self._idle():
                if segment.used_at >= latest:
                    continue
                if segment.owner is None:
                    self._let_go(segment)
                elif not is_held(segment.owner) or segment.unused:
                    del self._by_owner[segment.owner]
                    segment.empty()

    def close(self) -> None:
        """Let go of all."""
        self.place = ""
        with self._lock:
            self._closed = True
            for segment in self._idle():
                self._let_go(segment)

    def _idle(self) -> list[Segment]:
        """Those that nothing is being done to."""
        return [segment for segment in self._segments if segment not in self._busy and segment not in self._warming]

    def _release(self, segment: Segment) -> None:
        """It is busy no more."""
        del self._busy[segment]
        if self._closed and segment not in self._warming:
            self._let_go(segment)

    def _touch(self, segment: Segment) -> None:
        segment.used_at = time.monotonic()
        self._segments[segment] = self._segments.pop(segment)

    def _let_go(self, segment: Segment) -> None:
        del self._segments[segment]
        self.nbytes -= segment.nbytes
        if segment.owner is not None:
            del self._by_owner[segment.owner]
        segment.close()


def _leases_work(segment: Segment) -> bool:
    """Whether the kernel really sees that somebody else has the segment open; old ones and emulations do not."""
    other = os.open(f"/proc/self/fd/{segment.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if segment.unused:
            return False
    finally:
        os.close(other)
    return segment.unused


def _size(segment: Segment) -> int:
    return segment.nbytes


def _rounded(nbytes: int) -> int:
    """A little more, so that data of about the same size fits as well; what is not written to takes no memory."""
    step = max(64 * KIB, 1 << (nbytes.bit_length() - 4))
    return -(-nbytes // step) * step


def _create() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("myscheduler", flags | _NOEXEC_SEAL)
    except OSError:
        return os.memfd_create("myscheduler", flags)


def _write(descriptor: int, source: memoryview, offset: int) -> None:
    while source:
        written = os.pwrite(descriptor, source[:_WRITE_BYTES], offset)
        source, offset = source[written:], offset + written
