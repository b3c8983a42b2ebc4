"""What is particular to TCP links: hostile and dying peers, slow readers, fairness."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.limits import KIB
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.codec import Encoder, Frame
from myscheduler.protocol.handshake import ClientHandshake
from myscheduler.protocol.messages import GET_DATA, GOODBYE, HEARTBEAT, RESULTS, Role
from myscheduler.transport import Link
from myscheduler.transport import tcp as tcp_module
from myscheduler.transport.addresses import parse
from myscheduler.transport.tcp import address_of
from tests.transport.site import CLIENT, CREDENTIALS, Recorder, Site


async def admitted(site: Site, role: Role = Role.WORKER) -> tuple[socket.socket, Recorder]:
    """A plain socket that has done the handshake, and the handler on the other side."""
    loop = asyncio.get_running_loop()
    address = parse(site.listener.address)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * KIB)  # some kernels would take in all that a test sends
    sock.setblocking(False)
    await loop.sock_connect(sock, (address.host, address.port))
    handshake = ClientHandshake(CREDENTIALS, role, CLIENT, address.host_port, bytes(32))
    while not handshake.done:
        await loop.sock_sendall(sock, handshake.receive(await loop.sock_recv(sock, handshake.needed)))
    return sock, site.handlers[-1]


def frame(*messages: Any, sequence: int = 0) -> bytes:
    return b"".join(Encoder().encode(0, CLIENT, sequence, messages))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff" * 100, "broke the protocol: a frame with a control part of 4294967295 bytes"),
        (struct.pack("!II", 3, 0) + b"\x93\x00\x00", "broke the protocol: a frame cannot be decoded"),
        (frame(("not", "a message")), "broke the protocol: a message is an array that starts with its op"),
        (frame((HEARTBEAT, {})) + b"\xff" * 8, "broke the protocol"),
    ],
)
async def test_garbage_closes_the_link(tcp: Site, data: bytes, reason: str) -> None:
    sock, handler = await admitted(tcp)
    await asyncio.get_running_loop().sock_sendall(sock, data)
    assert reason in await handler.closed()
    assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""
    sock.close()


async def test_what_is_only_queued_does_not_leave(tcp: Site) -> None:
    link, _, _, acceptor = await tcp.connect()
    link.queue((HEARTBEAT, {"n": 0}))
    await asyncio.sleep(0)  # where ``send`` would have been flushed
    assert link.pending
    assert link.bytes_out == 0
    link.flush()
    assert await acceptor.received(1) == [(HEARTBEAT, {"n": 0})]
    assert not link.pending


@pytest.mark.parametrize(("retransmits", "probes", "silence"), [(0, 0, 0.0), (1, 0, 12.5), (0, 3, 12.5)])
async def test_a_machine_is_silent_only_if_it_was_asked(
    tcp: Site, monkeypatch: pytest.MonkeyPatch, retransmits: int, probes: int, silence: float
) -> None:
    link, *_ = await tcp.connect()
    info = bytes((1, 0, retransmits, probes)) + bytes(52) + (12_500).to_bytes(4, sys.byteorder)
    monkeypatch.setattr(link, "_tcp_info", lambda nbytes: info[:nbytes])
    assert link.machine_silence() == silence


async def test_the_machine_of_a_peer_that_does_nothing_is_heard_of(tcp: Site) -> None:
    sock, _ = await admitted(tcp)
    link = tcp.accepted[-1]
    link.send((GOODBYE, "anybody there?"))
    link.flush()
    assert 0.0 <= link.machine_silence() < 60.0  # acknowledged, though the process reads nothing
    assert 0.0 <= link.round_trip() < 60.0
    link.abort("the test is over")
    assert link.machine_silence() == link.round_trip() == 0.0
    sock.close()


async def test_a_peer_that_dies_is_noticed(tcp: Site) -> None:
    sock, handler = await admitted(tcp)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()  # with a reset
    assert await handler.closed() == "the connection was lost: Connection reset by peer"


async def test_frames_may_trickle_in(tcp: Site) -> None:
    sock, handler = await admitted(tcp)
    data = frame((HEARTBEAT, {"n": 1})) + frame((HEARTBEAT, {"n": 2}), sequence=1)
    for index in range(len(data)):
        await asyncio.get_running_loop().sock_sendall(sock, data[index : index + 1])
        await asyncio.sleep(0)
    assert [message[1]["n"] for message in await handler.received(2)] == [1, 2]
    sock.close()
    await handler.closed()


async def test_a_peer_that_does_not_read_holds_back_its_sender_only(tcp: Site) -> None:
    sock, handler = await admitted(tcp)
    accepted = tcp.accepted[-1]
    big = Blob((bytes(60_000_000),))
    accepted.role = Role.WORKER
    accepted.send((4, "x"))
    accepted.send((31, (("x", big, "", "", "x"),)))
    await asyncio.sleep(0)
    draining = asyncio.create_task(accepted.drain())
    link, other, *_ = await tcp.connect(Role.CLIENT, incarnation="d" * 16)
    tcp.accepted[-1].send((4, "hello"))
    await other.received(1)
    assert not draining.done()
    assert accepted.pending > 4_000_000
    received = 0
    while received < 60_000_000:
        received += len(await asyncio.get_running_loop().sock_recv(sock, 1 << 20))
        if draining.done():
            assert accepted.pending < 4 * 1024 * 1024
    await draining
    sock.close()
    await handler.closed()
    assert not link.closed


async def test_large_transfers_leave_the_loop_room(tcp: Site) -> None:
    link, _, _, acceptor = await tcp.connect()
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not acceptor.messages:
            asyncio.get_running_loop().call_soon(turn)

    turn()
    link.send((RESULTS, (("x", 1, 1, "t", Blob((bytes(100_000_000),)), 1, 0.0, 0.0),)))
    await acceptor.received(1)
    assert turns > 10


async def test_what_cannot_be_encoded_is_refused_by_send(tcp: Site) -> None:
    link, _, _, acceptor = await tcp.connect()
    with pytest.raises(UsageError, match="a HEARTBEAT message cannot be encoded"):
        link.send((HEARTBEAT, {"x": object()}))
    link.send((HEARTBEAT, {}))
    assert await acceptor.received(1) == [(HEARTBEAT, {})]


async def test_bytes_are_counted(tcp: Site) -> None:
    link, _, accepted, acceptor = await tcp.connect()
    link.send((HEARTBEAT, {"x": "y" * 1000}))
    await acceptor.received(1)
    assert 1000 < link.bytes_out == accepted.bytes_in < 1100
    assert link.pending == 0


async def test_a_peer_that_never_closes_is_left_after_a_while(tcp: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_module, "_LINGER_S", 0.01)
    sock, handler = await admitted(tcp)
    accepted = tcp.accepted[-1]
    accepted.send((GOODBYE, "bye"))
    accepted.close("bye")
    async with asyncio.timeout(5):
        await accepted.wait_closed()
    assert await handler.closed() == "bye"
    assert b"bye" in await asyncio.get_running_loop().sock_recv(sock, 1000)
    sock.close()


async def test_what_many_messages_say_is_handed_over_in_several_turns(tcp: Site) -> None:
    link, _, _, acceptor = await tcp.connect()
    loop, turns = asyncio.get_running_loop(), [0]

    def count(link: Link, frame: Frame) -> None:
        if not turns[-1]:
            loop.call_soon(turns.append, 0)
        turns[-1] += len(frame.control)

    acceptor.on_frame = count
    for _ in range(40):
        link.send((HEARTBEAT, {"x": "y" * 20 * KIB}))
        link.flush()
    await acceptor.received(40)
    assert sum(turns) > 40 * 20 * KIB
    assert max(turns) < tcp_module.MESSAGE_BYTES_PER_TURN + 64 * KIB + 20 * KIB


async def test_many_small_buffers_are_written_in_pieces(tcp: Site) -> None:
    tcp.listener.close()
    await tcp.open(own_role=Role.WORKER)
    link, handler, accepted, acceptor = await tcp.connect(Role.CLIENT)
    blob = Blob(tuple(b"%d" % number for number in range(5000)))
    acceptor.on_frame = lambda link, frame: link.send((63, 1, (("x", blob),), ()))
    link.send((GET_DATA, 1, (("x", 0),)))
    received = (await handler.received(1))[0][2][0][1]
    assert [bytes(buffer) for buffer in received.buffers] == list(blob.buffers)
    assert accepted.pending == 0


@pytest.mark.parametrize(
    ("name", "text"), [(("1.2.3.4", 5), "tcp://1.2.3.4:5"), (("::1", 5, 0, 0), "tcp://[::1]:5"), ("", "tcp://:0")]
)
def test_socket_names_have_a_text(name: Any, text: str) -> None:
    assert address_of(name) == text
