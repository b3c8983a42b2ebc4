from __future__ import annotations

import asyncio
import gc
import os

import numpy as np
import pytest

from myscheduler.base.errors import ConnectionFailedError, ProtocolError
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.pickling import dumps, loads
from myscheduler.protocol.shared import PipedBlob
from myscheduler.transport import pipes
from myscheduler.transport.pipes import Outflows, receive
from tests.transport.peer import MIB, Peer

TIMEOUT_S = 10.0


@pytest.fixture
async def outflows():
    made = Outflows()
    yield made
    made.close()
    assert len(made) == 0


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def until_empty(outflows: Outflows) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while len(outflows):
            await asyncio.sleep(0.001)


def offer(outflows: Outflows, blob: Blob) -> PipedBlob:
    piped = outflows.start(blob)
    assert piped is not None
    return piped


@pytest.mark.parametrize(
    "lengths",
    [(0,), (1,), (5, MIB), (MIB - 16,), (MIB - 15,), (3, 0, 5 * MIB + 7, 0, 70_000, 1), (4096,) * 600],
)
async def test_every_byte_arrives(outflows: Outflows, lengths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    buffers = [rng.bytes(length) for length in lengths]
    received = await receive(offer(outflows, Blob(tuple(buffers))))
    assert [bytes(buffer) for buffer in received.buffers] == buffers
    await until_empty(outflows)


async def test_arrays_arrive_writable_and_of_their_own(outflows: Outflows) -> None:
    array = np.arange(1_000_000.0)
    array.flags.writeable = False  # how it is sent does not need to write to it
    payload = dumps([array[:999_999], b"x" * MIB])
    assert isinstance(payload, Blob)
    first, second = await asyncio.gather(*(receive(offer(outflows, payload)) for _ in range(2)))
    mine = np.frombuffer(first.buffers[1], float)
    mine[0] = 5.0
    assert np.frombuffer(second.buffers[1], float)[0] == 0.0
    assert np.array_equal(loads(second)[0], array[:999_999])


async def test_memory_may_be_used_again_as_soon_as_the_sender_is_done(outflows: Outflows) -> None:
    data = bytearray(b"\x07" * (8 * MIB))
    piped = offer(outflows, Blob((data,)))
    reader = asyncio.ensure_future(receive(piped))
    while len(outflows):
        await asyncio.sleep(0)
    data[:] = b"\x01" * len(data)  # the reader may not have read the end yet
    received = await reader
    assert received.buffers[0] == b"\x07" * (8 * MIB)


async def test_between_processes(outflows: Outflows) -> None:
    with Peer() as peer:
        piped = offer(outflows, Blob((b"stream", bytes([7]) * (16 * MIB))))
        answer = await asyncio.to_thread(peer.ask, "read", piped.encode().hex())
        assert answer == f"7000 {16 * MIB + 6}"
    await until_empty(outflows)


async def test_a_killed_reader_ends_the_transfer_at_once(outflows: Outflows) -> None:
    before = descriptors()
    with Peer() as peer:
        piped = offer(outflows, Blob((bytes(16 * MIB),)))
        assert await asyncio.to_thread(peer.ask, "stall", piped.encode().hex()) == "stalled"
        assert len(outflows) == 1
        peer.kill()
        await until_empty(outflows)
    assert descriptors() == before


async def test_a_killed_sender_fails_the_reader_at_once() -> None:
    before = descriptors()
    with Peer() as peer:
        piped = PipedBlob.decode(bytes.fromhex(await asyncio.to_thread(peer.ask, "send")))
        reader = asyncio.ensure_future(receive(piped))
        await asyncio.sleep(0)
        assert not reader.done()
        peer.kill()
        with pytest.raises(ConnectionFailedError, match="the other end of a pipe was closed early"):
            await asyncio.wait_for(reader, TIMEOUT_S)
        with pytest.raises(FileNotFoundError):
            await receive(piped)
    assert descriptors() == before


async def test_a_reader_that_never_comes_is_given_up(outflows: Outflows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "STALLED_S", 0.01)
    before = descriptors()
    offer(outflows, Blob((bytes(4 * MIB),)))
    assert descriptors() > before
    await until_empty(outflows)
    assert descriptors() == before


async def test_a_sender_that_stops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "STALLED_S", 0.05)
    with Peer() as peer:
        piped = PipedBlob.decode(bytes.fromhex(await asyncio.to_thread(peer.ask, "send")))
        with pytest.raises(ConnectionFailedError, match=r"nothing came through a pipe for 0\.05 s"):
            await receive(piped)


async def test_another_pipe_than_the_one_that_was_named_is_refused(outflows: Outflows) -> None:
    piped = offer(outflows, Blob((b"data",)))
    with pytest.raises(ProtocolError, match="another pipe"):
        await receive(PipedBlob(piped.pid, piped.descriptor, b"x" * 16, piped.lengths))
    memory = os.memfd_create("no pipe")
    with pytest.raises(ProtocolError, match="is no pipe"):
        await receive(PipedBlob(os.getpid(), memory, b"x" * 16, (5,)))
    os.close(memory)


async def test_what_is_too_much_goes_over_the_link(outflows: Outflows, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outflows.start(Blob((b"x",) * (pipes.BUFFERS_MAX + 1))) is None
    monkeypatch.setattr(pipes, "OUTFLOWS_MAX", 1)
    first = offer(outflows, Blob((b"x",)))
    assert outflows.start(Blob((b"y",))) is None
    await receive(first)
    await until_empty(outflows)
    assert outflows.start(Blob((b"y",))) is not None


async def test_without_descriptors_it_goes_over_the_link(outflows: Outflows, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe2", fail)
        assert outflows.start(Blob((b"x",))) is None
    assert outflows.start(Blob((b"x",))) is not None


async def test_no_descriptor_is_left_behind(outflows: Outflows) -> None:
    before = descriptors()
    payload = Blob((b"stream", bytes([7]) * (MIB + 4096)))
    for _ in range(1000):
        received = await receive(offer(outflows, payload))
        assert received.buffers[1][-1] == 7
    await until_empty(outflows)
    del received
    gc.collect()
    assert descriptors() == before
