"""A proxy that breaks connections: ``python -m tests.faults.proxy 7777``, in the namespace of a host.

The host's own connections are led here by its firewall. Each is carried to where it was to go, and then, by a random choice:
reset at a boundary of messages (records of TLS), reset anywhere, carried byte by byte for a while, or stalled. Takes commands
on standard input: a line ``on MEAN`` lets it break about one connection each MEAN bytes, ``off`` lets it carry all; ``count``
prints how many were broken so far.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import sys

#: Connections with this mark are the proxy's own, and not led to it again.
MARK = 77
_SO_ORIGINAL_DST = 80
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_RECORD_HEADER = 5


class Chaos:
    """What happens to connections now."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.mean = 0
        self.count = 0

    def next_cut(self) -> float:
        """Bytes until the next break of one direction of a connection."""
        return self.random.expovariate(1 / self.mean) if self.mean else float("inf")


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chaos: Chaos) -> None:
    """Carry one connection until it ends or is broken."""
    sock: socket.socket = writer.get_extra_info("socket")
    raw = sock.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    port, packed = struct.unpack_from("!2xH4s", raw)
    onward = socket.socket()
    onward.setblocking(False)
    onward.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
    onward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        await asyncio.get_running_loop().sock_connect(onward, (socket.inet_ntoa(packed), port))
    except OSError:
        writer.close()
        onward.close()
        return
    far_reader, far_writer = await asyncio.open_connection(sock=onward)
    ways = [
        asyncio.create_task(_carry(reader, far_writer, chaos)),
        asyncio.create_task(_carry(far_reader, writer, chaos)),
    ]
    done, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    broken = any(task.exception() is None and task.result() for task in done)
    for task in pending:
        task.cancel()
    await asyncio.wait(ways)
    for each in (writer, far_writer):
        if broken:
            each.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            each.transport.abort()
        else:
            each.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chaos: Chaos) -> bool:
    """One direction; True if it is to be broken."""
    left = chaos.next_cut()
    behind = 0  # bytes until the next header of a record
    header = b""
    while True:
        try:
            data = await reader.read(65536)
        except OSError:
            return False
        if not data:
            return False
        if chaos.mean and left == float("inf"):
            left = chaos.next_cut()
        boundaries, behind, header = _boundaries(data, behind, header)
        if len(data) >= left:
            chaos.count += 1
            way = chaos.random.choice(("boundary", "anywhere", "bytes", "stall"))
            end = int(left)
            if way == "boundary":
                end = next((at for at in boundaries if at >= left), end)
            await _send(writer, data[:end], way)
            return True
        left -= len(data)
        await _send(writer, data, "")


def _boundaries(data: bytes, behind: int, header: bytes) -> tuple[list[int], int, bytes]:
    """Where records end in these bytes of a stream, and what to go on with."""
    found, at = [], 0
    while True:
        if behind:
            step = min(behind, len(data) - at)
            at, behind = at + step, behind - step
            if behind:
                return found, behind, b""
            found.append(at)
        missing = _RECORD_HEADER - len(header)
        header += data[at : at + missing]
        at = min(at + missing, len(data))
        if len(header) < _RECORD_HEADER:
            return found, 0, header
        behind, header = int.from_bytes(header[3:5], "big"), b""
        if not behind:
            found.append(at)


async def _send(writer: asyncio.StreamWriter, data: bytes, way: str) -> None:
    try:
        singly = 200 if way == "bytes" else 0  # the last bytes before the break
        whole = max(0, len(data) - singly)
        for index in range(whole, len(data)):
            if index == whole:
                writer.write(data[:whole])
            writer.write(data[index : index + 1])
            await writer.drain()
            await asyncio.sleep(0)
        if whole == len(data):
            writer.write(data)
        await writer.drain()
        if way == "stall":
            await asyncio.sleep(0.5)
    except OSError:
        return


async def main() -> None:
    """Serve, and do what standard input says."""
    chaos = Chaos(" ".join(sys.argv[1:]))
    server = await asyncio.start_server(lambda r, w: serve(r, w, chaos), "0.0.0.0", int(sys.argv[1]))
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("up", flush=True)
    while line := await commands.readline():
        words = line.decode().split()
        if words[0] == "on":
            chaos.mean = int(words[1])
        elif words[0] == "off":
            chaos.mean = 0
        print(chaos.count, flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
