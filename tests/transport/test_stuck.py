"""Who stopped reading is found, and nobody else."""

from __future__ import annotations

import asyncio
import socket

from myscheduler.protocol.messages import DATA, Role
from myscheduler.transport import Link
from myscheduler.transport.stuck import STUCK_S, StuckLinks
from tests.transport.site import Site
from tests.transport.test_tcp import admitted


async def fill(site: Site) -> tuple[Link, socket.socket]:
    """A link on which bytes wait, as the peer reads none."""
    sock, _ = await admitted(site, Role.CLIENT)
    link = site.accepted[-1]
    link.send((DATA, 1, (("x", bytes(64_000_000)),), ()))
    link.flush()
    while (before := link.bytes_out) == 0 or link.pending == 0:
        await asyncio.sleep(0)
    while True:
        await asyncio.sleep(0.01)
        if before == (before := link.bytes_out):
            return link, sock


async def test_a_peer_that_reads_nothing_is_disconnected(tcp: Site) -> None:
    link, sock = await fill(tcp)
    watch = StuckLinks()
    seconds = 0.0
    while not watch.look(seconds, [link]):
        assert seconds <= STUCK_S + 1
        seconds += 0.5
    assert seconds >= STUCK_S
    reason = await tcp.handlers[-1].closed()
    assert reason.startswith("it read nothing for 30 s, while ")
    assert reason.endswith(" bytes waited for it")
    sock.close()


async def test_a_peer_that_reads_a_little_is_not(tcp: Site) -> None:
    link, sock = await fill(tcp)
    watch = StuckLinks()
    loop = asyncio.get_running_loop()
    for second in range(3 * int(STUCK_S)):
        assert watch.look(float(second), [link]) == []
        if second % 20 == 0:
            sent = link.bytes_out
            while link.bytes_out == sent:
                await loop.sock_recv(sock, 1_000_000)
    link.abort("the test is over")
    sock.close()


async def test_who_was_stopped_itself_holds_it_against_nobody(tcp: Site) -> None:
    link, sock = await fill(tcp)
    watch = StuckLinks()
    assert watch.look(0.0, [link]) == []
    assert watch.look(3600.0, [link]) == []
    assert watch.look(3600.5, [link]) == []
    link.abort("the test is over")
    sock.close()


async def test_a_link_for_which_nothing_waits_is_well(tcp: Site) -> None:
    link, _, accepted, _ = await tcp.connect()
    watch = StuckLinks()
    for second in range(2 * int(STUCK_S)):
        assert watch.look(float(second), [link, accepted]) == []
