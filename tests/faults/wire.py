"""A host's wire with delay and jitter, for kernels without ``netem``: ``python -m tests.faults.wire p2 --delay 0.1``.

Runs in the namespace of the switch. Takes the port of a host off the bridge and carries its frames by hand, in their order.
Ends with its standard input, and puts the port back.
"""

from __future__ import annotations

import argparse
import heapq
import random
import select
import socket
import subprocess
import time

_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_SO_RCVBUFFORCE = 33
#: What sends a frame without its checksum would send it so through here, where nobody adds it.
_OFFLOADS = ("tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off")


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def open_raw(interface: str) -> socket.socket:
    """All frames of an interface."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    sock.bind((interface, _ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
    sock.setblocking(False)
    return sock


def carry(one: socket.socket, other: socket.socket, delay: float, jitter: float) -> None:
    """Carry frames both ways until standard input ends."""
    chooser = random.Random("wire")
    due: list[tuple[float, int, socket.socket, bytes]] = []
    last = {one: 0.0, other: 0.0}
    across = {one: other, other: one}
    count = 0
    poller = select.poll()
    sockets = {sock.fileno(): sock for sock in across}
    for descriptor in (*sockets, 0):
        poller.register(descriptor, select.POLLIN)
    while True:
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, _, sock, frame = heapq.heappop(due)
            try:
                sock.send(frame)
            except OSError:
                continue  # as a wire does with what it cannot carry
        wait = max(0.0, due[0][0] - now) if due else 1.0
        for descriptor, _ in poller.poll(wait * 1000):
            source = sockets.get(descriptor)
            if source is None:
                return
            for frame in _frames(source):
                at = time.monotonic() + delay + chooser.uniform(-jitter, jitter)
                last[source] = at = max(at, last[source])
                count += 1
                heapq.heappush(due, (at, count, across[source], frame))


def _frames(sock: socket.socket) -> list[bytes]:
    frames = []
    for _ in range(64):
        try:
            frame, address = sock.recvfrom(65536)
        except OSError:
            break
        if address[2] != _PACKET_OUTGOING:  # that is our own
            frames.append(frame)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.wire", description=__doc__)
    parser.add_argument("port")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.0)
    arguments = parser.parse_args()
    port, inner, outer = arguments.port, f"{arguments.port}i", f"{arguments.port}o"
    run("ip", "link", "set", port, "nomaster")
    run("ip", "link", "add", inner, "type", "veth", "peer", "name", outer)
    run("ip", "link", "set", outer, "master", "br0", "up")
    run("ip", "link", "set", inner, "up")
    for interface in (port, inner, outer):
        run("ethtool", "-K", interface, *_OFFLOADS)
        run("sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1")
    print("up", flush=True)
    carry(open_raw(port), open_raw(inner), arguments.delay, arguments.jitter)
    run("ip", "link", "del", inner)
    run("ip", "link", "set", port, "master", "br0")


if __name__ == "__main__":
    main()
