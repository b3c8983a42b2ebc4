"""Peers without a secret, at the door of a real listener: they learn and decode nothing, cost little, keep nobody out."""

from __future__ import annotations

import asyncio
import pickle
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from myscheduler.base.errors import MySchedulerError
from myscheduler.base.limits import UNAUTHENTICATED_MAX
from myscheduler.protocol import frames
from myscheduler.protocol.codec import Encoder
from myscheduler.protocol.handshake import ClientHandshake, ServerHandshake
from myscheduler.protocol.messages import HEARTBEAT, SPECS, Role, validate
from myscheduler.scheduler.queries import METHODS
from myscheduler.transport import tcp, tcp_listen
from myscheduler.transport.addresses import parse
from tests.fuzz.seeds import examples
from tests.fuzz.targets import client_side, recorded, server_side
from tests.support.scheduler import Cluster
from tests.transport.site import Site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site("tcp")
    await site.open()
    yield site
    await site.close()


async def knock(site: Site) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", parse(site.listener.address).port))
    return sock


async def say(site: Site, data: bytes) -> bytes:
    """Send something and hang up; what was answered until the end."""
    loop, sock = asyncio.get_running_loop(), await knock(site)
    answer = b""
    try:
        await loop.sock_sendall(sock, data)
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(5):
            while chunk := await loop.sock_recv(sock, 4096):
                answer += chunk
    except ConnectionError:
        pass  # closed with our bytes unread: they have been refused by then
    sock.close()
    return answer


# ---- nothing is decoded before the proof ----------------------------------------------------------------------------


class Marker:
    """Unpickled, it leaves a mark."""

    made = 0

    def __reduce__(self) -> Any:
        return (_mark, ())


def _mark() -> None:
    Marker.made += 1


async def test_nothing_that_strangers_send_is_decoded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Any] = []
    monkeypatch.setattr(frames, "decode", lambda *arguments: decoded.append(arguments))
    monkeypatch.setattr(tcp, "FrameDecoder", lambda: decoded.append("a decoder"))
    random = Random(1)
    sayings = [b"".join(Encoder().encode(0, "c" * 16, 0, [message])) for message in examples().values()]
    sayings += [pickle.dumps(Marker(), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    sayings += [random.randbytes(size) for size in (1, 64, 367, 368, 369, 5000)]
    sayings += [b"", b"GET / HTTP/1.1\r\n\r\n", recorded()[1]]
    for data in sayings:
        answer = await say(site, data)
        assert len(answer) in (0, 64), "the greeting, and nothing else"
    await site_has_refused(site, len(sayings))
    assert decoded == []
    assert Marker.made == 0
    assert site.accepted == []


async def site_has_refused(site: Site, count: int) -> None:
    async with asyncio.timeout(5):
        while site.listener.refused < count:
            await asyncio.sleep(0)


async def test_a_peer_of_ours_gets_past_a_crowd_of_silent_strangers(site: Site) -> None:
    """With real patience, and more strangers than may be inside."""
    site.listener._room = 64  # type: ignore[attr-defined]
    crowd = [await knock(site) for _ in range(200)]
    begun = time.monotonic()
    link, _, _, acceptor = await site.connect()
    link.send((HEARTBEAT, {}))
    await acceptor.received(1)
    assert time.monotonic() - begun < 4.8  # after 5 s the crowd would be gone anyway
    assert len(site.listener._arrivals) <= 64  # type: ignore[attr-defined]
    for sock in crowd:
        sock.close()


def test_few_descriptors_leave_room_for_few_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))

    async def room() -> int:
        site = Site("tcp")
        listener = await site.open()
        await site.close()
        return listener._room  # type: ignore[attr-defined,no-any-return]

    assert asyncio.run(room()) == 256 < UNAUTHENTICATED_MAX


async def test_the_oldest_goes_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.listener._room = 3  # type: ignore[attr-defined]
    monkeypatch.setattr(tcp_listen, "_PATIENCE_SILENT_S", 0.0)
    crowd = [await knock(site) for _ in range(5)]
    await site_has_refused(site, 2)
    inside = [arrival.remote for arrival in site.listener._arrivals]  # type: ignore[attr-defined]
    assert inside == [f"tcp://127.0.0.1:{sock.getsockname()[1]}" for sock in crowd[2:]]
    for sock in crowd:
        sock.close()


async def test_who_speaks_is_given_more_time_than_who_is_silent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.listener._room = 2  # type: ignore[attr-defined]
    monkeypatch.setattr(tcp_listen, "_PATIENCE_SILENT_S", 0.0)
    loop = asyncio.get_running_loop()
    crowd = [await knock(site) for _ in range(2)]
    await loop.sock_sendall(crowd[0], b"myscheduler")
    async with asyncio.timeout(5):
        while len(site.listener._silent) != 1:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
    crowd.append(await knock(site))
    await site_has_refused(site, 1)
    inside = [arrival.remote for arrival in site.listener._arrivals]  # type: ignore[attr-defined]
    assert inside == [f"tcp://127.0.0.1:{sock.getsockname()[1]}" for sock in (crowd[0], crowd[2])]
    for sock in crowd:
        sock.close()


async def test_whose_proof_is_there_already_is_not_sent_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own loop was busy for long: what waits for us in the kernel is no fault of the peer."""
    site.listener._room = 1  # type: ignore[attr-defined]
    monkeypatch.setattr(tcp_listen, "_PATIENCE_SILENT_S", 0.0)
    loop, sock = asyncio.get_running_loop(), await knock(site)
    port = parse(site.listener.address).port
    credentials = site.listener._credentials  # type: ignore[attr-defined]
    client = ClientHandshake(credentials, Role.CLIENT, "c" * 16, f"127.0.0.1:{port}", b"n" * 32)
    proof = client.receive(await loop.sock_recv(sock, 64))
    loop.remove_reader(next(iter(site.listener._arrivals)).sock)  # type: ignore[attr-defined]  # that is: be busy
    await loop.sock_sendall(sock, proof)
    other = await knock(site)
    assert len(await loop.sock_recv(sock, 48)) == 48
    assert [link.peer for link in site.accepted] == ["c" * 16]
    sock.close()
    other.close()


def test_a_stranger_costs_little() -> None:
    handshake = server_side()
    size = sum(sys.getsizeof(part) for part in (handshake, vars(handshake), *vars(handshake).values()))
    assert size < 4096  # asked for are 16 KiB in all; the socket is the kernel's
    assert handshake.needed == 368


# ---- the handshake --------------------------------------------------------------------------------------------------


def _is_let_in(side: ServerHandshake | ClientHandshake, data: bytes) -> bool:
    try:
        while data and side.needed:
            count = side.needed
            side.receive(data[:count])
            data = data[count:]
    except MySchedulerError:
        return False
    return side.done


def _mutate(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    while changed == data:
        kind = random.randrange(4)
        at = random.randrange(len(changed))
        if kind == 0:
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            changed[at : at + 32] = random.randbytes(len(changed[at : at + 32]))
        elif kind == 2:
            other = random.randrange(len(changed))
            changed[at : at + 16], changed[other : other + 16] = changed[other : other + 16], changed[at : at + 16]
        else:
            del changed[at : at + random.randrange(1, 40)]
            changed += random.randbytes(len(data) - len(changed))
        changed = changed[: len(data)]
    return bytes(changed)


def test_ten_thousand_mutations_of_a_recorded_handshake_are_refused() -> None:
    server_says, client_says = recorded()
    assert _is_let_in(server_side(), client_says)
    assert _is_let_in(client_side(), server_says)
    random = Random(3)
    for _ in range(5000):
        assert not _is_let_in(server_side(), _mutate(random, client_says))
        # The server's nonce is random, so another one is only found out by its proof, which covers it.
        assert not _is_let_in(client_side(), _mutate(random, server_says))


# ---- roles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.WORKER, Role.OBSERVER, Role.CLIENT])
async def test_a_link_closes_on_any_message_of_another_role(site: Site, role: Role) -> None:
    foreign = {op: spec for op, spec in SPECS.items() if role not in spec.senders}
    assert foreign
    cases = examples()
    for spec in foreign.values():
        with pytest.raises(MySchedulerError, match=f"a {role} may not send {spec.name}"):
            validate(cases[spec.name], role)
    for spec in list(foreign.values())[:3]:  # and the link obeys
        link, _, _, acceptor = await site.connect(role)
        link.send(cases[spec.name])
        assert f"may not send {spec.name}" in await acceptor.closed()
        assert acceptor.messages == []


def test_every_method_has_roles_and_refuses_the_others() -> None:
    cluster = Cluster(1)
    cluster.step(_observer())
    for name, (_, roles) in METHODS.items():
        assert roles
        assert set(roles) <= {Role.CLIENT, Role.OBSERVER}, "workers and schedulers ask nothing"
        if Role.OBSERVER not in roles:
            assert cluster.call(name, client="o") == (False, ("role", f"a observer may not call {name!r}"))
    commands = {"place", "wait_for_workers", "restart", "retire_workers", "shutdown"}
    assert not [name for name in commands if Role.OBSERVER in METHODS[name][1]]
    assert cluster.core.workers


def _observer() -> Any:
    from myscheduler.scheduler.events import PeerJoined
    from tests.support.scheduler import VERSIONS

    return PeerJoined("o", Role.OBSERVER, {"versions": VERSIONS})
