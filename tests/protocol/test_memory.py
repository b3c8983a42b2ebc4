from __future__ import annotations

import gc

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.base.limits import KIB, MIB
from myscheduler.protocol.memory import allocate, as_bytes


@pytest.mark.parametrize("nbytes", [0, 1, 64 * KIB - 1, 64 * KIB, 100_003, MIB - 1, MIB, 5 * MIB + 1])
def test_memory_is_writable_and_read_as_bytes(nbytes: int) -> None:
    memory = allocate(nbytes)
    assert len(memory) == nbytes
    assert not memory.readonly
    memory[:] = bytes(nbytes)
    memory[-1:] = b"z"[:nbytes]
    assert as_bytes(memory) == (bytes(nbytes - 1) + b"z" if nbytes else b"")


def test_more_than_there_is_cannot_be_allocated() -> None:
    with pytest.raises(ProtocolError, match="the peer announced a buffer of"):
        allocate(2**60)


def test_bytes_are_not_copied() -> None:
    memory = allocate(100_000)
    memory[:] = b"a" * 100_000
    value = as_bytes(memory)
    assert value is as_bytes(memory)
    del memory
    gc.collect()
    assert value == b"a" * 100_000


def test_memory_stays_while_a_part_of_it_is_looked_at() -> None:
    memory = allocate(100_000)
    memory[:] = b"ab" * 50_000
    part = memory[1:3]
    del memory
    gc.collect()
    assert allocate(100_000) is not None
    assert as_bytes(part) == b"ba"


@pytest.mark.parametrize("buffer", [b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(bytearray(b"cba"))[::-1]])
def test_other_buffers_are_copied(buffer: bytes | bytearray | memoryview) -> None:
    assert as_bytes(buffer) == b"abc"
    assert type(as_bytes(buffer)) is bytes
