from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import threading

import numpy as np
import pytest

from myscheduler.base.errors import ConnectionFailedError, ProtocolError
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.pickling import dumps, loads
from myscheduler.protocol.shared import PipedBlob
from myscheduler.transport import lanes, pipes
from myscheduler.transport.pipes import Outflows, receive
from tests.transport.peer import MIB, Peer

TIMEOUT_S = 10.0
#: goes through one pipe, goes through several
SIZES = [4 * MIB, pipes.DIVIDED_BYTES_MIN + 4099]


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has."""
    monkeypatch.setattr(lanes, "processors", lambda: 2)


@pytest.fixture
async def outflows():
    made = Outflows()
    yield made
    made.close()
    assert len(made) == 0
    assert not movers()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def movers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pipes"]


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
    [
        (0,),
        (1,),
        (5, MIB),
        (MIB - 16,),
        (MIB - 15,),
        (3, 0, 5 * MIB + 7, 0, 70_000, 1),
        (4096,) * 600,
        (5, 32 * MIB - 5),
        (5, 0, 17 * MIB, 8 * MIB, 8 * MIB - 1, 1, 70_001, 0),
        (60_000,) * 600,
    ],
)
async def test_every_byte_arrives(outflows: Outflows, lengths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    buffers = [rng.bytes(length) for length in lengths]
    received = await receive(offer(outflows, Blob(tuple(buffers))))
    assert [bytes(buffer) for buffer in received.buffers] == buffers
    await until_empty(outflows)


@pytest.mark.parametrize(
    ("processors", "nbytes", "count"), [(1, 64, 1), (2, 31, 1), (2, 32, 2), (3, 32, 3), (64, 64, 4)]
)
async def test_large_payloads_go_through_several_pipes(
    outflows: Outflows, monkeypatch: pytest.MonkeyPatch, processors: int, nbytes: int, count: int
) -> None:
    monkeypatch.setattr(lanes, "processors", lambda: processors)
    piped = offer(outflows, Blob((bytes(nbytes * MIB),)))
    assert len(piped.descriptors) == count
    assert len(movers()) == (0 if count == 1 else count)
    assert (await receive(piped)).nbytes == nbytes * MIB


async def test_the_loop_is_free_meanwhile(outflows: Outflows) -> None:
    reader = asyncio.ensure_future(receive(offer(outflows, Blob((bytes(256 * MIB),)))))
    turns = 0
    while not reader.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 20
    assert (await reader).nbytes == 256 * MIB


async def test_buffers_lie_as_at_the_sender(outflows: Outflows) -> None:
    array = np.frombuffer(bytearray(8 * MIB), np.uint8)
    sent = [array[offset : 2 * MIB + offset] for offset in (0, 1, 24, 63)]
    received = await receive(offer(outflows, Blob(tuple(part.data for part in sent))))
    addresses = [
        [np.frombuffer(buffer, np.uint8).ctypes.data for buffer in buffers] for buffers in (sent, received.buffers)
    ]
    assert [one % 64 for one in addresses[0]] == [other % 64 for other in addresses[1]]


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


@pytest.mark.parametrize("nbytes", SIZES)
async def test_memory_may_be_used_again_as_soon_as_the_sender_is_done(outflows: Outflows, nbytes: int) -> None:
    data = bytearray(b"\x07" * nbytes)
    piped = offer(outflows, Blob((data,)))
    reader = asyncio.ensure_future(receive(piped))
    while len(outflows):
        await asyncio.sleep(0)
    data[:] = b"\x01" * len(data)  # the reader may not have read the end yet
    received = await reader
    assert received.buffers[0] == b"\x07" * nbytes


@pytest.mark.parametrize("nbytes", SIZES)
async def test_between_processes(outflows: Outflows, nbytes: int) -> None:
    with Peer() as peer:
        piped = offer(outflows, Blob((b"stream", bytes([7]) * nbytes)))
        answer = await asyncio.to_thread(peer.ask, "read", piped.encode().hex())
        assert answer == f"7000 {nbytes + 6}"
    await until_empty(outflows)


@pytest.mark.parametrize("nbytes", SIZES)
async def test_a_killed_reader_ends_the_transfer_at_once(outflows: Outflows, nbytes: int) -> None:
    before = descriptors()
    with Peer() as peer:
        piped = offer(outflows, Blob((bytes(nbytes),)))
        assert await asyncio.to_thread(peer.ask, "stall", piped.encode().hex()) == "stalled"
        assert len(outflows) == 1
        peer.kill()
        await until_empty(outflows)
    assert descriptors() == before


@pytest.mark.parametrize("nbytes", SIZES)
async def test_a_killed_sender_fails_the_reader_at_once(nbytes: int) -> None:
    before = descriptors()
    with Peer() as peer:
        piped = PipedBlob.decode(bytes.fromhex(await asyncio.to_thread(peer.ask, "send", str(nbytes))))
        reader = asyncio.ensure_future(receive(piped))
        await asyncio.sleep(0)
        assert not reader.done()
        peer.kill()
        with pytest.raises(ConnectionFailedError, match="the other end of a pipe was closed early"):
            await asyncio.wait_for(reader, TIMEOUT_S)
        with pytest.raises(FileNotFoundError):
            await receive(piped)
    assert descriptors() == before


@pytest.mark.parametrize("nbytes", SIZES)
async def test_a_reader_that_never_comes_is_given_up(
    outflows: Outflows, monkeypatch: pytest.MonkeyPatch, nbytes: int
) -> None:
    monkeypatch.setattr(lanes, "STALLED_S", 0.01)
    before = descriptors()
    offer(outflows, Blob((bytes(nbytes),)))
    assert descriptors() > before
    await until_empty(outflows)
    assert descriptors() == before


@pytest.mark.parametrize("nbytes", SIZES)
async def test_a_sender_that_stops_is_given_up(monkeypatch: pytest.MonkeyPatch, nbytes: int) -> None:
    monkeypatch.setattr(lanes, "STALLED_S", 0.05)
    before = descriptors()
    with Peer() as peer:
        piped = PipedBlob.decode(bytes.fromhex(await asyncio.to_thread(peer.ask, "send", str(nbytes))))
        os.kill(peer.process.pid, signal.SIGSTOP)
        with pytest.raises(ConnectionFailedError, match=r"nothing moved through a pipe for 0\.05 s"):
            await receive(piped)
        assert not movers()
    assert descriptors() == before


@pytest.mark.parametrize("nbytes", SIZES)
async def test_a_reader_that_is_cancelled_leaves_nothing_behind(nbytes: int) -> None:
    before = descriptors()
    with Peer() as peer:
        piped = PipedBlob.decode(bytes.fromhex(await asyncio.to_thread(peer.ask, "send", str(nbytes))))
        reader = asyncio.ensure_future(receive(piped))
        await asyncio.sleep(0)
        assert len(movers()) == (0 if len(piped.descriptors) == 1 else 2)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert not movers()
    assert descriptors() == before


async def test_closing_breaks_off_what_is_under_way(outflows: Outflows) -> None:
    before = descriptors()
    pair = [offer(outflows, Blob((bytes(nbytes),))) for nbytes in SIZES]
    outflows.close()
    assert (len(outflows), movers(), descriptors()) == (0, [], before)
    for piped in pair:
        with pytest.raises(FileNotFoundError):
            await receive(piped)


async def test_another_pipe_than_the_one_that_was_named_is_refused(outflows: Outflows) -> None:
    piped = offer(outflows, Blob((b"data",)))
    with pytest.raises(ProtocolError, match="another pipe"):
        await receive(PipedBlob(piped.pid, piped.descriptors, b"x" * 16, piped.spans))
    memory = os.memfd_create("no pipe")
    with pytest.raises(ProtocolError, match="is no pipe"):
        await receive(PipedBlob(os.getpid(), (memory,), b"x" * 16, ((0, 5),)))
    piped = offer(outflows, Blob((bytes(SIZES[1]),)))
    before = descriptors()
    with pytest.raises(ProtocolError, match="is no pipe"):
        await receive(PipedBlob(os.getpid(), (*piped.descriptors, memory), b"x" * 16, ((0, 5),)))
    assert descriptors() == before
    os.close(memory)


async def test_each_pipe_must_be_the_one_that_was_named(outflows: Outflows) -> None:
    before = descriptors()
    first, second = (offer(outflows, Blob((bytes(SIZES[1]),))) for _ in range(2))
    mixed = PipedBlob(first.pid, (first.descriptors[0], second.descriptors[1]), first.token, first.spans)
    with pytest.raises(ProtocolError, match="another pipe"):
        await receive(mixed)
    outflows.close()
    assert descriptors() == before


async def test_what_is_too_much_goes_over_the_link(outflows: Outflows, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outflows.start(Blob((b"x",) * (pipes.BUFFERS_MAX + 1))) is None
    monkeypatch.setattr(pipes, "PIPES_MAX", 1)
    first = offer(outflows, Blob((b"x",)))
    assert outflows.start(Blob((b"y",))) is None
    await receive(first)
    await until_empty(outflows)
    assert outflows.start(Blob((b"y",))) is not None


async def test_large_payloads_share_the_pipes_there_may_be(outflows: Outflows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "PIPES_MAX", 5)
    payload = Blob((bytes(SIZES[1]),))
    assert [len(offer(outflows, payload).descriptors) for _ in range(3)] == [2, 2, 1]
    assert outflows.start(payload) is None


@pytest.mark.parametrize("nbytes", SIZES)
@pytest.mark.parametrize("made", [0, 1])
async def test_without_descriptors_it_goes_over_the_link(
    outflows: Outflows, monkeypatch: pytest.MonkeyPatch, nbytes: int, made: int
) -> None:
    before = descriptors()
    real, left = os.pipe2, [None] * made

    def pipe2(flags: int) -> tuple[int, int]:
        if not left:
            raise OSError(errno.EMFILE, "Too many open files")
        left.pop()
        return real(flags)

    payload = Blob((bytes(nbytes),))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe2", pipe2)
        expected = made if nbytes == SIZES[0] else 0
        assert [outflows.start(payload) for _ in range(expected + 1)][-1] is None
        assert len(outflows) == expected
    outflows.close()
    assert descriptors() == before
    assert outflows.start(payload) is not None


async def test_without_threads_it_goes_over_the_link(outflows: Outflows, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    real, started = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    payload = Blob((bytes(SIZES[1]),))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert outflows.start(payload) is None
    assert len(started) == 1
    assert (movers(), descriptors()) == ([], before)
    assert outflows.start(payload) is not None


async def test_a_receiver_without_threads_or_descriptors_says_so(
    outflows: Outflows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def eventfd(*_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    piped = offer(outflows, Blob((bytes(SIZES[1]),)))
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="no thread can be started: can't start new thread"):
            await receive(piped)
    with monkeypatch.context() as patch:
        patch.setattr(os, "eventfd", eventfd)
        with pytest.raises(OSError, match="Too many open files"):
            await receive(piped)
    assert descriptors() == before


async def test_no_descriptor_is_left_behind(outflows: Outflows) -> None:
    before = descriptors()
    payload = Blob((b"stream", bytes([7]) * (MIB + 4096)))
    for _ in range(1000):
        received = await receive(offer(outflows, payload))
        assert received.buffers[1][-1] == 7
    payload = Blob((b"stream", bytes([7]) * (32 * MIB)))
    for _ in range(30):
        received = await receive(offer(outflows, payload))
        assert received.buffers[1][-1] == 7
    await until_empty(outflows)
    del received
    gc.collect()
    assert descriptors() == before
