from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from myscheduler.base.errors import AuthenticationError, ConnectionFailedError, UsageError
from myscheduler.protocol.messages import HEARTBEAT, Role
from myscheduler.transport import tcp_listen
from myscheduler.transport.addresses import parse
from tests.transport.site import CREDENTIALS, Site


async def knock(site: Site) -> socket.socket:
    address = parse(site.listener.address)
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", address.port))
    return sock


async def read_all(sock: socket.socket) -> bytes:
    data = b""
    async with asyncio.timeout(5):
        while chunk := await asyncio.get_running_loop().sock_recv(sock, 1000):
            data += chunk
    return data


async def test_the_real_address_is_known(tcp: Site) -> None:
    address = parse(tcp.listener.address)
    assert address.host == "127.0.0.1"
    assert address.port > 0
    assert repr(tcp.listener) == f"<listener at {tcp.listener.address}>"


async def test_a_stranger_learns_nothing_but_the_greeting(tcp: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sock = await knock(tcp)
        await asyncio.get_running_loop().sock_sendall(sock, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".ljust(368))
        assert len(await read_all(sock)) == 64
    sock.close()
    assert tcp.listener.refused == 1
    assert "the peer is no myscheduler" in caplog.text
    assert tcp.accepted == []


async def test_refusals_are_logged_now_and_then_only(tcp: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            sock = await knock(tcp)
            await asyncio.get_running_loop().sock_sendall(sock, b"x" * 368)
            await read_all(sock)
            sock.close()
    assert tcp.listener.refused == 5
    assert len(caplog.records) == 1


async def test_who_says_nothing_is_dropped(tcp: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_listen, "HANDSHAKE_TIMEOUT_S", 0.02)
    sock = await knock(tcp)
    assert len(await read_all(sock)) == 64
    sock.close()
    assert tcp.listener.refused == 1


async def test_strangers_do_not_keep_others_out(tcp: Site) -> None:
    tcp.listener._room = 64  # type: ignore[attr-defined]
    strangers = [await knock(tcp) for _ in range(74)]
    async with asyncio.timeout(5):
        link, _, _, acceptor = await tcp.connect()
    link.send((HEARTBEAT, {}))
    await acceptor.received(1)
    assert tcp.listener.refused >= 11
    for sock in strangers:
        sock.close()


async def test_a_crowd_of_friends_gets_in(tcp: Site) -> None:
    tcp.listener._room = 64  # type: ignore[attr-defined]
    links = await asyncio.gather(*(tcp.connect(incarnation=f"{i:016x}") for i in range(200)))
    assert len({link.local for link, *_ in links}) == 200
    assert sorted(link.peer for link in tcp.accepted) == [f"{i:016x}" for i in range(200)]
    assert tcp.listener.refused == 0


async def test_on_the_loopback_all_its_names_may_be_dialled(tcp: Site) -> None:
    port = parse(tcp.listener.address).port
    await tcp.connect(address=f"tcp://localhost:{port}")
    await tcp.connect(address=f"127.0.0.1:{port}")
    assert len(tcp.accepted) == 2


async def test_other_names_are_refused() -> None:
    site = Site("tcp")
    await site.open(dialled=["scheduler.example:8786"])
    with pytest.raises(AuthenticationError, match="it does not go by that address"):
        await site.connect()
    assert site.listener.refused == 1
    await site.close()


async def test_a_relayed_proof_is_refused(tcp: Site) -> None:
    """Somebody on another port passes our bytes on to the real listener, and gets nowhere."""
    loop = asyncio.get_running_loop()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await knock(tcp)
        writer.write(await loop.sock_recv(behind, 64))
        await loop.sock_sendall(behind, await reader.readexactly(368))
        writer.write(await read_all(behind))
        behind.close()
        writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    with pytest.raises(AuthenticationError, match="does not let us in"):
        await tcp.connect(address=f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()
    await server.wait_closed()
    assert tcp.accepted == []


async def test_other_listeners_take_any_name() -> None:
    site = Site("tcp")
    site.address = "tcp://0.0.0.0:0"
    await site.open()
    assert site.listener.address.startswith("tcp://0.0.0.0:")
    await site.connect(address=f"tcp://127.0.0.2:{parse(site.listener.address).port}")
    await site.close()


async def test_a_bound_socket_can_be_handed_over() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    site = Site("tcp")
    await site.open(sock=sock)
    assert site.listener.address == f"tcp://127.0.0.1:{port}"
    await site.connect()
    await site.close()


async def test_a_taken_port_is_named(tcp: Site) -> None:
    other = Site("tcp")
    other.address = tcp.listener.address
    with pytest.raises(
        ConnectionFailedError, match=r"cannot listen on .*: Address already in use\. Is a scheduler running"
    ):
        await other.open()


async def test_a_host_that_is_not_ours_is_named() -> None:
    site = Site("tcp")
    site.address = "tcp://192.0.2.1:0"
    with pytest.raises(ConnectionFailedError, match=r"cannot listen on tcp://192.0.2.1:0: Cannot assign"):
        await site.open()


async def test_credentials_are_needed() -> None:
    with pytest.raises(UsageError, match="needs credentials to let anybody in"):
        await Site("tcp").open(credentials=None)


async def test_closing_drops_who_has_not_proved_himself(tcp: Site) -> None:
    sock = await knock(tcp)
    assert len(await asyncio.get_running_loop().sock_recv(sock, 64)) == 64
    tcp.listener.close()
    tcp.listener.close()
    assert await read_all(sock) == b""
    sock.close()


async def test_a_role_without_secret_is_refused() -> None:
    site = Site("tcp")
    await site.open(credentials=CREDENTIALS.restricted("worker"))
    with pytest.raises(AuthenticationError, match="does not let us in as client"):
        await site.connect(Role.CLIENT)
    await site.connect(Role.WORKER)
    await site.close()


async def test_a_link_may_be_closed_as_it_is_accepted(tcp: Site) -> None:
    original = tcp.accept

    def refuse(link: object) -> object:
        handler = original(link)  # type: ignore[arg-type]
        link.close("not today")  # type: ignore[attr-defined]
        return handler

    tcp.listener._accept = refuse  # type: ignore[attr-defined]
    _, handler, _, _ = await tcp.connect()
    assert await handler.closed() == "the peer closed the connection"
