"""Payloads through pipes between processes of one host: the kernel copies them once, from memory to memory.

The sender does not write into a pipe but has it refer to the pages of the payload (``vmsplice``); the receiver opens the
sender's end through ``/proc`` and reads. Pages that a pipe refers to must not change until they have been read. So the
last part, as much as a pipe can hold, is written in the ordinary way: when the pipe has taken all of that, nothing
refers to the pages any more.

A pipe that is being read is not filled, and reading is copying, which one processor does. So a large payload goes through
several pipes at a time, each with a part of it.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import os
import secrets
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final

from ..base.errors import ConnectionFailedError, ProtocolError
from ..base.limits import MIB
from ..protocol.blob import Blob
from ..protocol.shared import ALIGNMENT, TOKEN_BYTES, PipedBlob, divide
from . import lanes
from .buffers import take

#: What a pipe holds, if we may have that much; the most that the kernel grants to everybody by default.
PIPE_BYTES: Final = MIB
#: Pipes that one process has at a time; what comes on top goes over the link. Each takes two descriptors.
PIPES_MAX: Final = 32
#: Payloads from here on go through several pipes; below, what is in the cache yet comes faster through one.
DIVIDED_BYTES_MIN: Final = 32 * MIB
#: Pipes for one payload: as many as there are processors, at most this. More than a few are slowed down by the memory.
LANES_MAX: Final = 4
#: Buffers of one payload; more are sent over the link, as each costs a call of the kernel.
BUFFERS_MAX: Final = 1024
_SPLICE_F_NONBLOCK: Final = 2


# ---- sending --------------------------------------------------------------------------------------------------------


class Outflows:
    """The transfers that this process sends. To be used on the running event loop."""

    def __init__(self) -> None:
        self._flows: dict[_Outflow, None] = {}
        self._works = hasattr(fcntl, "F_SETPIPE_SZ")

    def __len__(self) -> int:
        return len(self._flows)

    def start(self, blob: Blob) -> PipedBlob | None:
        """Offer a payload to a process of this host.

        Parameters
        ----------
        blob : Blob
            Its buffers must not change until the transfer is over.

        Returns
        -------
        PipedBlob or None
            What the receiver must be told; None if it had better be sent.
        """
        free = PIPES_MAX - sum(len(flow.name.descriptors) for flow in self._flows)
        if not self._works or free < 1 or len(blob.buffers) > BUFFERS_MAX:
            return None
        count = min(LANES_MAX, lanes.processors(), free) if blob.nbytes >= DIVIDED_BYTES_MIN else 1
        try:
            flow = _Outflow(self, blob, count)
        except OSError as error:
            self._works = error.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN)
            return None
        self._flows[flow] = None
        return flow.name

    def ended(self, flow: _Outflow) -> None:
        """There is one less."""
        del self._flows[flow]

    def close(self) -> None:
        """Break all off."""
        for flow in list(self._flows):
            flow.end()


class _Outflow:
    """One payload on its way out."""

    def __init__(self, owner: Outflows, blob: Blob, count: int) -> None:
        self._owner = owner
        self._blob: Blob | None = blob  # the pipes refer to its memory
        token = secrets.token_bytes(TOKEN_BYTES)
        views = [memoryview(buffer).cast("B") for buffer in blob.buffers]
        nbytes = sum(view.nbytes for view in views)
        self._lanes: list[_OutLane] = []
        try:
            for begin, end in divide(nbytes, count):
                self._lanes.append(_OutLane(token, _cut(views, begin, end)))
            self.name = PipedBlob(
                os.getpid(),
                tuple(lane.read_end for lane in self._lanes),
                token,
                tuple((_address(view) % ALIGNMENT, view.nbytes) for view in views),
            )
            self._movement = lanes.move(self._lanes)
        except OSError:
            self._close()
            raise
        self._movement.done.add_done_callback(self._on_done)

    def _on_done(self, done: asyncio.Future[None]) -> None:
        done.exception()  # a receiver that has gone, or never came, knows better than we do
        if self._lanes:
            self.end()

    def end(self) -> None:
        """Close our ends; the receiver can still read what is in the pipes."""
        self._movement.end()
        self._close()
        self._owner.ended(self)

    def _close(self) -> None:
        for lane in self._lanes:
            lane.close()
        self._lanes.clear()
        self._blob = None


class _OutLane:
    """One pipe to write to."""

    writes = True

    def __init__(self, token: bytes, views: Iterable[memoryview]) -> None:
        self.read_end, self.descriptor = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(PermissionError):  # this user has many pipes; smaller ones do as well
            fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._capacity = fcntl.fcntl(self.descriptor, fcntl.F_GETPIPE_SZ)
        self._left = deque([memoryview(token), *views])
        self._to_splice = max(0, sum(view.nbytes for view in self._left) - self._capacity)
        self._moved = 0

    @property
    def over(self) -> bool:
        return not self._left

    def move(self) -> int:
        view = self._left[0]
        if self._to_splice:
            count = _splice(self.descriptor, view[: self._to_splice])
            self._to_splice -= count
        else:
            count = os.write(self.descriptor, view)
        if count == view.nbytes:
            self._left.popleft()
        else:
            self._left[0] = view[count:]
        self._moved += count
        if self._moved > self._capacity and self.read_end >= 0:
            # Somebody reads. From now on the kernel tells us if he is gone.
            os.close(self.read_end)
            self.read_end = -1
        return count

    def close(self) -> None:
        os.close(self.descriptor)
        if self.read_end >= 0:
            os.close(self.read_end)


def _cut(views: Sequence[memoryview], begin: int, end: int) -> Iterator[memoryview]:
    """The bytes from ``begin`` to ``end`` of the concatenated views."""
    at = 0
    for view in views:
        part = view[max(0, begin - at) : max(0, end - at)]
        if part.nbytes:
            yield part
        at += view.nbytes


class _PyBuffer(ctypes.Structure):
    """``Py_buffer`` of the stable ABI."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@cache
def _vmsplice() -> Any:
    function = ctypes.CDLL(None, use_errno=True).vmsplice
    function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint)
    function.restype = ctypes.c_ssize_t
    return function


def _held(view: memoryview) -> _PyBuffer:
    """Where this is in memory; to be released."""
    buffer = _PyBuffer()
    # ctypes gives the address of writable memory only.
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    return buffer


def _address(view: memoryview) -> int:
    buffer = _held(view)
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return buffer.buf or 0


def _splice(descriptor: int, view: memoryview) -> int:
    """Have the pipe refer to as much of ``view`` as it can; returns the number of bytes."""
    buffer = _held(view)
    try:
        vector = _IoVec(buffer.buf, buffer.len)
        count: int = _vmsplice()(descriptor, ctypes.byref(vector), 1, _SPLICE_F_NONBLOCK)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    if count < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return count


# ---- receiving ------------------------------------------------------------------------------------------------------


async def receive(piped: PipedBlob) -> Blob:
    """Read what ``piped`` names.

    Parameters
    ----------
    piped : PipedBlob
        As told by a peer of the same ``place()``.

    Returns
    -------
    Blob
        In memory of its own, writable.

    Raises
    ------
    OSError
        The peer's descriptors cannot be opened.
    ProtocolError
        They are not what was named.
    ConnectionFailedError
        The rest did not come.
    """
    descriptors: list[int] = []
    try:
        # All before reading from one: the sender closes them when it is done.
        descriptors.extend(_open(f"/proc/{piped.pid}/fd/{number}") for number in piped.descriptors)
        views = [take(length, shift) for shift, length in piped.spans]
        flow = [
            _InLane(descriptor, piped.token, _cut(views, begin, end))
            for descriptor, (begin, end) in zip(descriptors, piped.parts, strict=True)
        ]
        movement = lanes.move(flow)
        try:
            await movement.done
        finally:
            movement.end()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return Blob(tuple(views))


def _open(path: str) -> int:
    if not stat.S_ISFIFO(os.stat(path).st_mode):  # before opening, which may do something to what is no pipe
        raise ProtocolError(f"{path} is no pipe")
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


class _InLane:
    """One pipe to read from."""

    writes = False

    def __init__(self, descriptor: int, token: bytes, views: Iterable[memoryview]) -> None:
        self.descriptor = descriptor
        self._expected: bytes | None = token
        self._token = memoryview(bytearray(TOKEN_BYTES))
        self._views = views
        self._left = deque([self._token])

    @property
    def over(self) -> bool:
        return not self._left

    def move(self) -> int:
        view = self._left[0]
        count = os.readv(self.descriptor, [view])
        if not count:
            raise ConnectionFailedError("the other end of a pipe was closed early")
        if count < view.nbytes:
            self._left[0] = view[count:]
            return count
        self._left.popleft()
        if self._expected is not None:
            if self._token != self._expected:
                raise ProtocolError("another pipe than the one that was named")
            self._expected = None
            self._left.extend(self._views)
        return count
