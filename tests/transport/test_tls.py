"""What is special about encrypted links; what they share with others is in the contract."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from myscheduler.protocol.blob import Blob
from myscheduler.protocol.messages import DATA, GET_DATA, HEARTBEAT, PUT_DATA, Role
from myscheduler.transport.addresses import parse
from myscheduler.transport.tls import make_context, wrap
from tests.transport.site import CREDENTIALS, Site


@asynccontextmanager
async def relayed(chunk: int, own_role: Role = Role.SCHEDULER) -> AsyncIterator[tuple[Site, str, bytearray]]:
    """A site, an address that passes all on to it in pieces of ``chunk`` bytes, and what was seen on the way."""
    seen = bytearray()
    site = Site("tls")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(chunk):
            seen.extend(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = parse(site.listener.address)
        there, back = await asyncio.open_connection(behind.host, behind.port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await site.open(own_role=own_role, dialled=[place])
    yield site, f"tls://{place}", seen
    await site.close()
    server.close()
    await server.wait_closed()
    for _ in range(10):  # the streams of asyncio close some turns later
        await asyncio.sleep(0)


async def test_nothing_can_be_read_on_the_way() -> None:
    async with relayed(65536) as (site, address, seen):
        link, _, _, acceptor = await site.connect(address=address)
        for _ in range(10):
            link.send((HEARTBEAT, {"text": "plainly to be read"}))
        await acceptor.received(10)
        assert len(seen) > 1000
        assert b"plainly" not in seen
        assert CREDENTIALS.cluster.encode() in seen  # the name of the certificate that is asked for; no secret


@pytest.mark.parametrize("chunk", [1, 7, 4099])
async def test_pieces_of_any_size_make_messages(chunk: int) -> None:
    async with relayed(chunk) as (site, address, _):
        link, handler, accepted, acceptor = await site.connect(address=address)
        for i in range(20):
            link.send((HEARTBEAT, {"n": i}))
        assert [m[1]["n"] for m in await acceptor.received(20)] == list(range(20))
        assert handler.messages == []
        assert accepted.role is Role.WORKER


async def test_a_change_on_the_way_closes_the_link() -> None:
    async with relayed(65536) as (site, address, seen):
        link, _, _, acceptor = await site.connect(address=address)
        os.write(link._sock.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))  # type: ignore[attr-defined]
        assert "the connection was lost: " in await acceptor.closed()
        assert acceptor.messages == []
        assert seen


async def test_small_and_large_buffers_arrive_in_their_order() -> None:
    site = Site("tls")
    await site.open(own_role=Role.WORKER)
    link, _, _, acceptor = await site.connect(Role.CLIENT)
    sizes = [1, 100_000, 5, 16_384, 16_383, 3, 3, 2_000_000, 0, 70_000, 16_385, 1]
    blobs = [Blob(tuple(bytes([i + j & 255]) * size for j, size in enumerate(sizes))) for i in range(5)]
    for i, blob in enumerate(blobs):
        link.send((PUT_DATA, i, (("x", 0, blob),)))
        link.send((PUT_DATA, i, (("y", 0, b"small"),)))
    await acceptor.received(10)
    for i, blob in enumerate(blobs):
        received = acceptor.messages[2 * i][2][0][2]
        assert [bytes(buffer) for buffer in received.buffers] == [bytes(buffer) for buffer in blob.buffers]
    assert link.pending == 0
    await site.close()


async def test_both_directions_at_once() -> None:
    """Neither side may wait for the other to read first."""
    site = Site("tls")
    await site.open(own_role=Role.WORKER)
    link, handler, accepted, acceptor = await site.connect(Role.WORKER)
    answer = Blob((os.urandom(1_000_000),))

    def serve(link: object, frame: object) -> None:
        for message in frame.messages:  # type: ignore[attr-defined]
            accepted.send((DATA, message[1], (("x", answer),), ()))

    acceptor.on_frame = serve
    for i in range(30):
        link.send((GET_DATA, i, tuple((f"{'k' * 1000}{j}", 0) for j in range(500))))
    await handler.received(30)
    assert bytes(handler.messages[-1][2][0][1].buffers[0]) == bytes(answer.buffers[0])
    await site.close()


def test_the_key_is_in_no_file_that_has_a_name() -> None:
    before = os.listdir("/tmp")
    context = make_context(CREDENTIALS, Role.WORKER, server=True)
    assert context.num_tickets == 0
    assert [name for name in os.listdir("/tmp") if name not in before and "myscheduler" in name] == []


def test_a_connection_that_is_reset_before_the_handshake_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.close()
    with far:
        with pytest.raises(ConnectionResetError):
            far.recv(1)
        number = far.fileno()
        with pytest.raises(ConnectionResetError):
            wrap(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), far, server_side=True)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_one_that_is_reset_later_stays_its_owners() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with wrap(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), far, server_side=True) as wrapped:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.close()
        with pytest.raises(ConnectionResetError):
            wrapped.do_handshake()
        assert "laddr" in repr(wrapped)  # which asks for the name of the peer
        assert wrapped.fileno() >= 0
