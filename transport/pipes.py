"""Payloads through pipes between processes of one host: the kernel copies them once, from memory to memory.

The sender does not write into the pipe but has it refer to the pages of the payload (``vmsplice``); the receiver opens
the sender's end through ``/proc`` and reads. Pages that a pipe refers to must not change until they have been read. So
the last part, as much as a pipe can hold, is written in the ordinary way: when the pipe has taken all of that, nothing
refers to the pages any more.
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
from contextlib import suppress
from functools import cache
from typing import Any, Final

from ..base.errors import ConnectionFailedError, MySchedulerError, ProtocolError
from ..base.limits import MIB
from ..protocol.blob import Blob
from ..protocol.shared import TOKEN_BYTES, PipedBlob
from .buffers import IDLE_S, buffers

#: What a pipe holds, if we may have that much; the most that the kernel grants to everybody by default.
PIPE_BYTES: Final = MIB
#: A transfer that makes no progress for so long is given up.
STALLED_S: Final = 10.0
#: Transfers that one process sends at a time; what comes on top goes over the link. Each takes two descriptors.
OUTFLOWS_MAX: Final = 32
#: Buffers of one payload; more are sent over the link, as each costs a call of the kernel.
BUFFERS_MAX: Final = 1024
#: What one readiness event may move before others get their turn.
_BYTES_PER_TURN: Final = 8 * MIB
_READS_PER_TURN: Final = 4
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
        if not self._works or len(self._flows) >= OUTFLOWS_MAX or len(blob.buffers) > BUFFERS_MAX:
            return None
        try:
            flow = _Outflow(self, blob)
        except OSError as error:
            self._works = error.errno in (errno.EMFILE, errno.ENFILE)
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

    def __init__(self, owner: Outflows, blob: Blob) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        token = secrets.token_bytes(TOKEN_BYTES)
        views = [memoryview(buffer).cast("B") for buffer in blob.buffers]
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(PermissionError):  # this user has many pipes; smaller ones do as well
            fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._capacity = fcntl.fcntl(self._write_end, fcntl.F_GETPIPE_SZ)
        self._blob: Blob | None = blob  # the pipe refers to its memory
        self.name = PipedBlob(os.getpid(), self._read_end, token, tuple(view.nbytes for view in views))
        self._left = deque([memoryview(token), *(view for view in views if view.nbytes)])
        self._to_splice = max(0, self.name.nbytes + TOKEN_BYTES - self._capacity)
        self._moved = 0
        self._moved_at = self._loop.time()
        self._timer = self._loop.call_later(STALLED_S, self._check)
        self._loop.add_writer(self._write_end, self._on_writable)

    def _on_writable(self) -> None:
        self._moved_at = self._loop.time()
        moved = 0
        try:
            while self._left and moved < _BYTES_PER_TURN:
                count = self._move()
                moved += count
                if count == self._left[0].nbytes:
                    self._left.popleft()
                else:
                    self._left[0] = self._left[0][count:]
        except BlockingIOError:
            pass  # the pipe is full
        except OSError:  # the receiver has closed its end
            self.end()
            return
        self._moved += moved
        if self._moved > self._capacity and self._read_end >= 0:
            # Somebody reads. From now on the kernel tells us if he is gone.
            os.close(self._read_end)
            self._read_end = -1
        if not self._left:
            self.end()

    def _move(self) -> int:
        view = self._left[0]
        if not self._to_splice:
            return os.write(self._write_end, view)
        count = _splice(self._write_end, view[: self._to_splice])
        self._to_splice -= count
        return count

    def _check(self) -> None:
        if self._loop.time() - self._moved_at >= STALLED_S:
            self.end()
        else:
            self._timer = self._loop.call_later(STALLED_S, self._check)

    def end(self) -> None:
        """Close our ends; the receiver can still read what is in the pipe."""
        self._timer.cancel()
        self._loop.remove_writer(self._write_end)
        os.close(self._write_end)
        if self._read_end >= 0:
            os.close(self._read_end)
        self._left.clear()
        self._blob = None
        self._owner.ended(self)


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


def _splice(descriptor: int, view: memoryview) -> int:
    """Have the pipe refer to as much of ``view`` as it can; returns the number of bytes."""
    buffer = _PyBuffer()
    # ctypes gives the address of writable memory only.
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
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
        The peer's descriptor cannot be opened.
    ProtocolError
        It is not what was named.
    ConnectionFailedError
        The rest did not come.
    """
    path = f"/proc/{piped.pid}/fd/{piped.descriptor}"
    if not stat.S_ISFIFO(os.stat(path).st_mode):  # before opening, which may do something to what is no pipe
        raise ProtocolError(f"{path} is no pipe")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        flow = _Inflow(descriptor, piped)
        try:
            await flow.done
        finally:
            flow.end()
    finally:
        os.close(descriptor)
        asyncio.get_running_loop().call_later(2 * IDLE_S, buffers.trim)
    return Blob(tuple(flow.buffers))


class _Inflow:
    """One payload on its way in."""

    def __init__(self, descriptor: int, piped: PipedBlob) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._token = memoryview(bytearray(TOKEN_BYTES))
        self._expected: bytes | None = piped.token
        self.buffers = [buffers.take(length) for length in piped.lengths]
        self._left = deque([self._token])
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._moved_at = self._loop.time()
        self._timer = self._loop.call_later(STALLED_S, self._check)
        self._loop.add_reader(descriptor, self._on_readable)

    def _on_readable(self) -> None:
        self._moved_at = self._loop.time()
        try:
            for _ in range(_READS_PER_TURN):
                if self.done.done():
                    return
                self._read()
        except BlockingIOError:
            return
        except (OSError, MySchedulerError) as error:
            self._fail(error)

    def _read(self) -> None:
        count = os.readv(self._descriptor, [self._left[0]])
        if not count:
            raise ConnectionFailedError("the other end of a pipe was closed early")
        self._left[0] = self._left[0][count:]
        if self._left[0].nbytes:
            return
        self._left.popleft()
        if self._expected is not None:
            if self._token != self._expected:
                raise ProtocolError("another pipe than the one that was named")
            self._expected = None
            self._left += [buffer for buffer in self.buffers if buffer.nbytes]
        if not self._left:
            self.done.set_result(None)

    def _check(self) -> None:
        if self._loop.time() - self._moved_at >= STALLED_S:
            self._fail(ConnectionFailedError(f"nothing came through a pipe for {STALLED_S:g} s"))
        else:
            self._timer = self._loop.call_later(STALLED_S, self._check)

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def end(self) -> None:
        """Listen no more."""
        self._timer.cancel()
        self._loop.remove_reader(self._descriptor)
