"""Payloads: pickled bytes that travel unread.

A payload is ``bytes`` when it is small enough for the control stream, or a ``Blob`` whose buffers travel raw behind it.
"""

from __future__ import annotations

from typing import TypeAlias


class Blob:
    """Pickled data too large for the control stream: the pickle stream first, then its out-of-band buffers.

    Parameters
    ----------
    buffers : tuple of bytes-like
        ``buffers[0]`` is the pickle stream (protocol 5), the rest are the buffers it refers to, in order.
    """

    __slots__ = ("buffers", "nbytes")

    def __init__(self, buffers: tuple[bytes | bytearray | memoryview, ...]) -> None:
        self.buffers = buffers
        self.nbytes = sum(b.nbytes if isinstance(b, memoryview) else len(b) for b in buffers)

    def __repr__(self) -> str:
        return f"<Blob of {self.nbytes} bytes in {len(self.buffers)} buffers>"


Payload: TypeAlias = bytes | Blob


def payload_nbytes(payload: Payload) -> int:
    """Size of a payload on the wire, in bytes."""
    return payload.nbytes if type(payload) is Blob else len(payload)  # type: ignore[arg-type]
