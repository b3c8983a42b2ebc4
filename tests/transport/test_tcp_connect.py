from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from myscheduler.base.errors import AuthenticationError, ConnectionFailedError, VersionMismatchError
from myscheduler.protocol.handshake import ServerHandshake
from myscheduler.protocol.messages import Role
from myscheduler.transport import connect, tcp_connect
from tests.transport.site import CLIENT, CREDENTIALS, SERVER, Recorder


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def dial(address: str, timeout: float = 0.1) -> Any:
    return await connect(
        address, credentials=CREDENTIALS, role=Role.CLIENT, incarnation=CLIENT, handler=Recorder(), timeout=timeout
    )


async def serve(answer: Callable[[asyncio.StreamWriter], None]) -> tuple[asyncio.Server, str]:
    """A server that is no listener of ours."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def stop(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()
    for _ in range(10):  # the streams of asyncio close some turns later
        await asyncio.sleep(0)


async def test_nobody_there() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionFailedError) as caught:
        await dial(address)
    assert str(caught.value) == (
        f"cannot reach {address} within 0.1 s: connection refused. "
        "Is a scheduler running there? Start one with `myscheduler`."
    )


async def test_a_peer_that_listened_once_and_refuses_is_gone_at_once() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionFailedError, match=f"^{address} is gone: connection refused$"):
        await connect(
            address,
            credentials=CREDENTIALS,
            role=Role.CLIENT,
            incarnation=CLIENT,
            handler=Recorder(),
            timeout=3600.0,
            reach_timeout=3600.0,
        )


async def test_a_peer_whose_machine_does_not_take_the_connection_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(sock: socket.socket, address: Any) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    with pytest.raises(ConnectionFailedError, match="is gone: connection timed out"):
        await connect(
            "tcp://127.0.0.1:1",
            credentials=CREDENTIALS,
            role=Role.CLIENT,
            incarnation=CLIENT,
            handler=Recorder(),
            timeout=3600.0,
            reach_timeout=0.01,
        )


async def test_no_such_name() -> None:
    with pytest.raises(
        ConnectionFailedError, match=r"cannot reach tcp://nowhere.invalid:1 within .* 'nowhere.invalid'"
    ):
        await dial("tcp://nowhere.invalid:1", timeout=1.0)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n", b"220 smtp ready\r\n"])
async def test_something_else_there(greeting: bytes) -> None:
    server, address = await serve(lambda writer: writer.write(greeting))
    with pytest.raises(ConnectionFailedError, match=r"is no myscheduler: it began with b'.*'\. Check the port"):
        await dial(address, timeout=5)
    await stop(server)


async def test_something_silent_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_connect, "HANDSHAKE_TIMEOUT_S", 0.02)
    server, address = await serve(lambda writer: None)
    with pytest.raises(ConnectionFailedError, match="accepted the connection but did not introduce itself within"):
        await dial(address, timeout=0.2)
    await stop(server)


async def test_something_that_hangs_up() -> None:
    server, address = await serve(lambda writer: writer.close())
    with pytest.raises(ConnectionFailedError, match="closed the connection before it said anything"):
        await dial(address, timeout=0.2)
    await stop(server)


async def test_another_version_there() -> None:
    handshake = ServerHandshake(CREDENTIALS, None, bytes(32), role=Role.SCHEDULER, incarnation=SERVER)
    hello = bytearray(handshake.start())
    hello[13] = 200
    server, address = await serve(lambda writer: writer.write(hello))
    with pytest.raises(VersionMismatchError, match="speaks version 200 of the protocol, this process speaks 1"):
        await dial(address, timeout=5)
    await stop(server)


async def test_an_impostor_there() -> None:
    handshake = ServerHandshake(CREDENTIALS, None, bytes(32), role=Role.SCHEDULER, incarnation=SERVER)
    server, address = await serve(lambda writer: writer.write(handshake.start() + bytes(48)))
    with pytest.raises(AuthenticationError, match="could not prove that it belongs to cluster .*; nothing was sent"):
        await dial(address, timeout=5)
    await stop(server)


async def test_credentials_are_needed() -> None:
    with pytest.raises(AuthenticationError, match="only lets in who has credentials"):
        await connect("tcp://127.0.0.1:1", credentials=None, role=Role.CLIENT, incarnation=CLIENT, handler=Recorder())


async def test_giving_up_leaves_no_socket() -> None:
    arrived = asyncio.Event()
    server, address = await serve(lambda writer: arrived.set())
    connecting = asyncio.create_task(dial(address, timeout=60))
    await arrived.wait()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert connecting.cancelled()
    await stop(server)  # an open socket would be a ResourceWarning, which is an error here


async def test_a_socket_connected_to_itself_is_no_server() -> None:
    loop = asyncio.get_running_loop()
    original = loop.sock_connect

    async def to_itself(sock: socket.socket, address: Any) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        await original(sock, address)

    loop.sock_connect = to_itself  # type: ignore[method-assign, assignment]
    with pytest.raises(ConnectionFailedError, match="connection refused"):
        await dial(f"tcp://127.0.0.1:{free_port()}", timeout=0.1)
