"""Values to payloads and back, for transfers: on the loop when small, in a thread when large."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

from ...base.errors import SerializationError
from ...base.items import base_of, index_of, is_item
from ...base.keys import Key
from ...base.limits import KIB
from ...base.sizeof import sizeof
from ...protocol import pickling
from ...protocol.blob import Blob, Payload, payload_nbytes
from ...protocol.messages import Row
from ...protocol.shared import SharedBlob
from ...transport.segments import Segments
from ..events import NOT_HELD, Copy
from ..store import Store
from .inputs import take
from .sharing import Sharing

T = TypeVar("T")

#: Up to this many bytes, pickling takes less time than asking a thread to do it and being woken by it.
INLINE_BYTES_MAX: Final = 256 * KIB


class Packed(NamedTuple):
    """What goes into a DATA or SHARED message: rows (key, payload) and rows (key, reason)."""

    rows: tuple[Row, ...]
    missing: tuple[Row, ...]


class _Found(NamedTuple):
    """A value to pickle, or the whole of an item; and whether it goes into a segment, since others have asked for it before."""

    copy: Copy
    value: Any
    was_offered: bool


class Unpacked(NamedTuple):
    """What came in a DATA or PUT_DATA message.

    ``values`` are rows (key, value, bytes); ``failures`` are rows (key, exception payload, text, traceback, wall clock
    seconds) of values that cannot be unpickled here.
    """

    values: list[tuple[Key, Any, int]]
    failures: list[Row]


class Packer:
    """Pickles and unpickles values for transfers, off the loop where that is worth it.

    Parameters
    ----------
    sharing : Sharing, optional
        What to do with large values for others of this host; None: everything is sent.
    """

    def __init__(self, sharing: Sharing | None = None) -> None:
        self.sharing = sharing
        self._pool = ThreadPoolExecutor(2, "transfers")

    async def pack(self, store: Store, copies: Iterable[Copy], place: str = "") -> Packed:
        """Pickle copies (key, attempt) that are in the store; attempt 0 means any.

        Large ones are offered in other ways to an asker at the same ``place``.
        """
        sharing = self.sharing if self.sharing is not None and place and place == self.sharing.place else None
        offered: list[Row] = []
        found: list[_Found] = []
        missing: list[Row] = []
        nbytes = 0
        for key, attempt in copies:
            entry = store.find(base_of(key), attempt)
            if entry is None:
                missing.append((key, NOT_HELD))
                continue
            copy = (key, entry[0])
            if sharing is not None and (segment := sharing.find(copy)) is not None:
                offered.append((key, segment))
                continue
            found.append(_Found(copy, entry[1], sharing is not None and sharing.was_offered(copy)))
            nbytes += entry[2]
        segments = None if sharing is None else sharing.segments
        rows = await self._run(nbytes, lambda: _pack(found, missing, segments))
        for copy, payload in rows:
            offered.append((copy[0], payload if sharing is None else sharing.offer(copy, payload)))
        return Packed(tuple(offered), tuple(missing))

    def forget(self, copies: Iterable[Copy]) -> None:
        """These are not in the store any more."""
        if self.sharing is not None:
            for segment in self.sharing.forget(copies):
                self._pool.submit(self.sharing.segments.warm_up, segment)

    def sweep(self, store: Store) -> None:
        """Give back memory that has not been used for a while; call now and then."""
        if self.sharing is not None:
            self.sharing.sweep(store)

    @property
    def shared_bytes(self) -> int:
        """Bytes of the memory that is kept for others of this host to read."""
        return 0 if self.sharing is None else self.sharing.segments.nbytes

    async def unpack(self, rows: Iterable[tuple[Key, Payload]]) -> Unpacked:
        """Unpickle rows (key, payload)."""
        rows = list(rows)
        return await self._run(sum(payload_nbytes(payload) for _, payload in rows), lambda: _unpack(rows))

    async def _run(self, nbytes: int, work: Callable[[], T]) -> T:
        if nbytes <= INLINE_BYTES_MAX:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for nothing, start nothing."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self.sharing is not None:
            self.sharing.close()


def failure(key: Key, error: BaseException) -> Row:
    """Describe why the value of ``key`` cannot be had: a row of ``FetchEnded.failures``."""
    payload, text, traceback_text = pickling.dumps_exception(error)
    return (key, payload, text, traceback_text, time.time())


def _pack(
    found: list[_Found], missing: list[Row], segments: Segments | None
) -> list[tuple[Copy, Payload | SharedBlob]]:
    rows: list[tuple[Copy, Payload | SharedBlob]] = []
    for copy, value, was_offered in found:
        try:
            if is_item(copy[0]):
                value = take(value, index_of(copy[0]))  # noqa: PLW2901
            payload = pickling.dumps(value, f"the result of task {copy[0]!r}")
            shared = None
            if segments is not None and was_offered and isinstance(payload, Blob):
                shared = segments.share(copy, payload)
            rows.append((copy, shared or payload))
        except Exception as error:  # noqa: BLE001 (code of the user may raise anything; the asker is told)
            missing.append((copy[0], str(error) or type(error).__name__))
    return rows


def _unpack(rows: list[tuple[Key, Payload]]) -> Unpacked:
    values: list[tuple[Key, Any, int]] = []
    failures: list[Row] = []
    for key, payload in rows:
        try:
            value = pickling.loads(payload)
            values.append((key, value, sizeof(value)))
        except Exception as error:  # noqa: BLE001 (code of the user may raise anything; who waits for the value is told)
            text = f"the value of {key!r} cannot be unpickled on this worker: {type(error).__name__}: {error}"
            failures.append(failure(key, SerializationError(text)))
    return Unpacked(values, failures)
