"""Stands between a client and a TLS scheduler, and breaks connections: after so many bytes, on demand, or for one side only."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from myscheduler.client.api.loop import LoopThread
from myscheduler.transport.addresses import parse

#: Close with a reset, so that what is on the way is lost.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections to ``target``.

    Attributes
    ----------
    address : str
        Where to connect instead.
    budget : int or None
        Each connection breaks after so many bytes, in both directions together.
    refusing : bool
        New connections are closed at once.
    accepted, broken : int
        Connections.
    """

    def __init__(self, target: str) -> None:
        self._target = parse(target)
        self.address = ""
        self.budget: int | None = None
        self.refusing = False
        self.accepted = 0
        self.broken = 0
        self._pairs: dict[asyncio.Task[None], tuple[socket.socket, socket.socket]] = {}
        self._kept: list[socket.socket] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"{self._target.scheme}://127.0.0.1:{port}"

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._pairs):
            task.cancel()
        for sock in self._kept:
            sock.close()
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = writer.get_extra_info("socket").dup()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.transport.abort()
        near.setblocking(False)
        if self.refusing:
            near.close()
            return
        self.accepted += 1
        far = socket.create_connection((self._target.host, self._target.port))
        far.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._carry(near, far))
        self._pairs[task] = (near, far)
        task.add_done_callback(self._pairs.pop)

    async def _carry(self, near: socket.socket, far: socket.socket) -> None:
        left = [self.budget]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(near, far, left))
                group.create_task(self._pump(far, near, left))
        except* (OSError, EOFError):
            pass
        finally:
            self.broken += 1
            for sock in (near, far):
                if sock not in self._kept:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    sock.close()

    async def _pump(self, source: socket.socket, sink: socket.socket, left: list[int | None]) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, 65536):
            if left[0] is not None:
                data = data[: max(left[0], 0)]
                left[0] -= len(data)
            await loop.sock_sendall(sink, data)
            if left[0] is not None and left[0] <= 0:
                raise EOFError
        raise EOFError

    def cut(self, *, half: bool = False) -> None:
        """Break all connections; if ``half``, the scheduler is not told."""

        def do() -> None:
            for task, (_, far) in list(self._pairs.items()):
                if half:
                    self._kept.append(far)
                task.cancel()

        LoopThread.shared().loop.call_soon_threadsafe(do)


@contextmanager
def proxy_for(target: str) -> Iterator[Proxy]:
    """A proxy on the shared loop."""
    proxy = Proxy(target)
    LoopThread.shared().run(proxy.start())
    try:
        yield proxy
    finally:
        LoopThread.shared().run(proxy.stop())
