"""What processes of one host name instead of sending it (``protocol/shared.py``): who can open it, and opening it."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import mmap
import os
import stat
import weakref
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from ..base.errors import ProtocolError
from ..protocol.blob import Blob
from ..protocol.messages import Row
from ..protocol.shared import HEADER, MAGIC, PipedBlob, SharedBlob
from . import pipes
from .link import Link

#: Sealed by its owner: it can neither shrink under us nor be written to through a descriptor opened later.
SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | 0x10 if hasattr(fcntl, "F_SEAL_SHRINK") else 0  # FUTURE_WRITE
#: The kernel allows a process 65,530 mappings by default, and others need some, too.
MAPPINGS_MAX: Final = 16_384

_MAP_FLAGS: Final = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)

#: Length of each segment of others that is mapped here, by address. Entries come and go in any thread.
_mapped: dict[int, int] = {}


@cache
def _place(pid: int) -> str:
    del pid  # a fork is asked again
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        if os.readlink("/proc/self") != str(os.getpid()):
            return ""  # this /proc shows the processes of another namespace
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}/{os.geteuid()}"
    except OSError:
        return ""


def place() -> str:
    """Names who can open each other's segments: the same boot of the same host, PID namespace and user.

    Returns
    -------
    str
        Empty where this cannot be done at all.
    """
    return _place(os.getpid()) if hasattr(os, "memfd_create") else ""


def is_near(link: Link) -> bool:
    """Whether the peer seems to be on this host, so that it is worth asking it for shared memory."""
    (scheme, _, local), (_, _, remote) = link.local.partition("://"), link.remote.partition("://")
    if scheme == "inproc":
        return False  # passes objects
    local, remote = local.rpartition(":")[0], remote.rpartition(":")[0]
    return local == remote or local.startswith("127.") or local == "[::1]"


def mapped_bytes() -> int:
    """Bytes of other processes' segments that are mapped into this one."""
    return sum(list(_mapped.values()))


def open_shared(shared: SharedBlob) -> Blob:
    """Map what ``shared`` names.

    Parameters
    ----------
    shared : SharedBlob
        As told by a peer of the same ``place()``.

    Returns
    -------
    Blob
        Its buffers can be written to; what is written is nobody else's, and takes memory of its own, page by page. The
        rest is let go when the last object made of them is.

    Raises
    ------
    OSError
        The peer's descriptor cannot be opened.
    ProtocolError
        It is not, or no longer, what was named.
    """
    if len(_mapped) >= MAPPINGS_MAX:
        raise OSError(f"{MAPPINGS_MAX} segments are mapped already")
    path = f"/proc/{shared.pid}/fd/{shared.descriptor}"
    if not stat.S_ISREG(os.stat(path).st_mode):  # before opening, which may do something to what is no file
        raise ProtocolError(f"{path} is no segment")
    # Without O_NONBLOCK this would wait while the owner probes whether it may use the segment again.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check(path, descriptor, shared.end)
        address = _map(descriptor, shared.end)
    finally:
        os.close(descriptor)  # the mapping stays; one descriptor for each array would soon be too many
    # From here on the owner sees that the segment is in use; if it was before, the token is another one.
    array = (ctypes.c_ubyte * shared.end).from_address(address)
    weakref.finalize(array, _unmap, address, shared.end).atexit = False
    view = memoryview(array).cast("B")
    if HEADER.unpack_from(view) != (MAGIC, shared.token):
        raise ProtocolError(f"{path} does not hold that data any more")
    return Blob(tuple(view[offset : offset + length] for offset, length in shared.spans))


async def fetch_rows(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Get what rows (key, payload) of SHARED name.

    Raises
    ------
    OSError, ProtocolError, ConnectionFailedError
        Something cannot be had that way; ask for it to be sent.
    """
    rows = tuple(rows)
    # Side by side: whoever sends through a pipe gives up if nobody reads.
    flows = [pipes.receive(payload) for _, payload in rows if isinstance(payload, PipedBlob)]
    received = iter(await asyncio.gather(*flows, return_exceptions=True))
    found: list[Row] = []
    for key, payload in rows:
        if not isinstance(payload, PipedBlob):
            found.append((key, open_shared(payload) if isinstance(payload, SharedBlob) else payload))
            continue
        blob = next(received)
        if isinstance(blob, BaseException):
            raise blob
        found.append((key, blob))
    return tuple(found)


def _check(path: str, descriptor: int, end: int) -> None:
    found = os.fstat(descriptor)
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        seals = 0
    if seals & SEALS != SEALS:
        raise ProtocolError(f"{path} is not sealed as segments are")
    if found.st_size < end:
        raise ProtocolError(f"{path} has {found.st_size} bytes, not {end}")


@cache
def _libc() -> Any:
    # mmap.mmap would keep a descriptor for as long as the mapping lives.
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
    )  # fmt: skip
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc


def _map(descriptor: int, nbytes: int) -> int:
    address: int | None = _libc().mmap(None, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, _MAP_FLAGS, descriptor, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    _mapped[address] = nbytes
    return address


def _unmap(address: int, nbytes: int) -> None:
    del _mapped[address]  # first: another thread may be given this address at once
    _libc().munmap(address, nbytes)
