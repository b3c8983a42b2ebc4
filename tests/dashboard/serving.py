"""A dashboard on a free port of this process, and clients for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.iostream import IOStream
from tornado.websocket import WebSocketClientConnection, websocket_connect

from myscheduler.dashboard.handlers import Source
from myscheduler.dashboard.server import Server

TOKEN = "a-token-that-is-long-enough"


class Site:
    """A running dashboard as a browser or an attacker sees it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = server.port
        self.host = f"127.0.0.1:{server.port}"
        self.connections: list[tuple[WebSocketClientConnection, IOStream]] = []
        self.link = f"http://{self.host}/?token={TOKEN}"

    async def get(self, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
        """The answer, whatever its status; underscores in names of headers become dashes."""
        request = HTTPRequest(
            f"http://{self.host}{path}",
            method=method,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            body=b"" if method in {"POST", "PUT", "PATCH"} else None,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            request_timeout=10,
        )
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    async def cookie(self) -> str:
        """Logs in; the value for a ``Cookie`` header."""
        answer = await self.get(f"/?token={TOKEN}")
        assert answer.code == 302, answer
        return answer.headers["Set-Cookie"].partition(";")[0]

    async def websocket(self, path: str, subprotocols: list[str] | None = None, **headers: str) -> Any:
        """An open websocket, or tornado's HTTPError."""
        request = HTTPRequest(f"ws://{self.host}{path}", headers=dict(headers), request_timeout=10)
        connection: WebSocketClientConnection = await websocket_connect(request, subprotocols=subprotocols)
        assert connection.protocol is not None
        stream = connection.protocol.stream
        assert stream is not None
        self.connections.append((connection, stream))
        return connection

    async def close(self) -> None:
        """Close the websockets without waiting for the other side to agree."""
        for connection, stream in self.connections:
            connection.close()
            stream.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(source: Source, hosts: tuple[str, ...] = ()) -> AsyncIterator[Site]:
    """A dashboard that shows ``source`` on a free port."""
    server = Server(source, TOKEN, [socket.create_server(("127.0.0.1", 0))], hosts)
    server.start()
    site = Site(server)
    try:
        yield site
    finally:
        await site.close()
        await server.stop()
        AsyncHTTPClient().close()
