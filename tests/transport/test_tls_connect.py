from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from myscheduler.base.certificates import Certificates, Leaf
from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import AuthenticationError, ConnectionFailedError
from myscheduler.protocol.messages import Role
from myscheduler.transport import tcp_connect
from tests.transport.site import CREDENTIALS, Site

DAY = 86400.0


def with_certificates(certificates: Certificates | None, **leaves: Leaf) -> Credentials:
    """The site's secrets with other certificates."""
    if certificates is not None:
        certificates = replace(certificates, leaves={**certificates.leaves, **leaves})
    return Credentials(CREDENTIALS.cluster, CREDENTIALS.secrets, certificates)


def certificates() -> Certificates:
    assert CREDENTIALS.certificates is not None
    return CREDENTIALS.certificates


def expired(unnoticed: bool = False) -> Credentials:
    """Whose certificates have expired; ``unnoticed`` by who holds them, whose clock is behind."""
    made = CREDENTIALS.certified(-60.0).certificates
    assert made is not None
    return with_certificates(replace(made, valid_until=made.valid_until + DAY) if unnoticed else made)


async def refused(
    credentials: Credentials,
    text: str,
    role: Role = Role.WORKER,
    *,
    server: Credentials = CREDENTIALS,
    own_role: Role = Role.SCHEDULER,
    refusals: int = 0,
) -> str:
    """What we are told at a site that does not let us in; it must match."""
    site = Site("tls")
    await site.open(credentials=server, own_role=own_role)
    with pytest.raises(AuthenticationError, match=text) as caught:
        await site.connect(role, credentials=credentials, expected=Role.SCHEDULER)
    assert site.accepted == []
    async with asyncio.timeout(5):
        while site.listener.refused < refusals:
            await asyncio.sleep(0)
    await site.close()
    return str(caught.value)


async def test_another_authority_is_refused() -> None:
    text = "is not from the authority that our credentials name .*or it is an impostor. Use the scheduler file"
    assert await refused(CREDENTIALS.certified(), text, refusals=1)


async def test_a_certificate_of_another_authority_is_refused_by_the_server() -> None:
    stranger = CREDENTIALS.certified().certificates
    assert stranger is not None
    credentials = with_certificates(certificates(), worker=stranger.leaves["worker"])
    assert await refused(
        credentials, "does not take our certificate: it belongs to another cluster, or its certificates"
    )


async def test_a_worker_is_no_scheduler() -> None:
    """Who holds a worker's certificate and all secrets still cannot stand in for the scheduler."""
    text = "has a certificate, but not that of a scheduler of our cluster; nothing was sent to it"
    assert await refused(CREDENTIALS, text, own_role=Role.WORKER)
    imposed = with_certificates(certificates(), scheduler=certificates().leaves["worker"])
    assert await refused(CREDENTIALS, text, server=imposed)


async def test_a_client_is_no_server() -> None:
    imposed = with_certificates(certificates(), scheduler=certificates().leaves["client"])
    assert await refused(CREDENTIALS, "not that of a scheduler", server=imposed)


@pytest.mark.parametrize(
    ("role", "shown"), [(Role.CLIENT, "worker"), (Role.WORKER, "observer"), (Role.OBSERVER, "client")]
)
async def test_a_secret_and_a_certificate_of_different_roles_are_no_proof(role: Role, shown: str) -> None:
    credentials = with_certificates(certificates(), **{role: certificates().leaves[shown]})
    assert await refused(credentials, f"does not let us in as {role}", role, refusals=1)


async def test_expired_certificates_say_how_to_renew() -> None:
    text = "expired at .*: start `myscheduler` again with its scheduler file, which makes new ones, and copy"
    assert await refused(expired(), text)
    site = Site("tls")
    with pytest.raises(AuthenticationError, match=text):
        await site.open(credentials=expired())


async def test_an_expired_certificate_of_ours_is_told_by_the_server() -> None:
    """By its clock: ours is behind."""
    stale = expired(unnoticed=True)
    assert stale.certificates is not None
    trusting = replace(certificates(), authority=certificates().authority + stale.certificates.authority)
    mine = with_certificates(trusting, worker=stale.certificates.leaves["worker"])
    text = "says that our certificate has expired: start `myscheduler` again with its scheduler file"
    assert await refused(mine, text, server=with_certificates(trusting))


async def test_an_expired_certificate_of_the_server_is_told_by_us() -> None:
    stale = expired(unnoticed=True)
    assert stale.certificates is not None
    fresh = replace(certificates(), authority=certificates().authority + stale.certificates.authority)
    text = "the certificate of .* has expired: start `myscheduler` again with its scheduler file"
    assert await refused(with_certificates(fresh), text, server=stale)


async def test_a_certificate_of_tomorrow_blames_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("myscheduler.base.certificates._CLOCK_SKEW", timedelta(hours=-1))
    early = CREDENTIALS.certified()
    assert await refused(early, "is not valid yet: the clock there or here is wrong", server=early)


@pytest.mark.parametrize("made", [None, certificates().restricted("observer")])
async def test_without_a_certificate_the_file_is_asked_for(made: Certificates | None) -> None:
    assert await refused(with_certificates(made), "hold no certificate for workers, which tls:// addresses ask for")


async def test_damaged_certificates() -> None:
    damaged = with_certificates(certificates(), worker=Leaf("no certificate", "no key"))
    assert await refused(damaged, "the certificates in these credentials are damaged")


async def test_credentials_are_needed() -> None:
    site = Site("tls")
    await site.open()
    with pytest.raises(AuthenticationError, match="only lets in who has credentials"):
        await site.connect(credentials=None)
    await site.close()


async def test_over_plain_tcp_a_worker_is_no_scheduler_either() -> None:
    site = Site("tcp")
    await site.open(own_role=Role.WORKER)
    with pytest.raises(
        ConnectionFailedError, match="what listens at .* is a worker, not a scheduler; check the address"
    ):
        await site.connect(Role.CLIENT, expected=Role.SCHEDULER)
    await site.close()


# ---- who speaks something else --------------------------------------------------------------------------------------


def other_scheme(site: Site) -> Mapping[str, Any]:
    scheme, _, place = site.listener.address.partition("://")
    return {"address": f"{'tcp' if scheme == 'tls' else 'tls'}://{place}", "timeout": 0.2}


async def test_plain_tcp_to_a_tls_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_connect, "HANDSHAKE_TIMEOUT_S", 0.05)
    site = Site("tls")
    await site.open()
    place = site.listener.address.removeprefix("tls://")
    with pytest.raises(ConnectionFailedError, match=f"it speaks TLS .then dial tls://{place}., it is no myscheduler"):
        await site.connect(**other_scheme(site))
    await site.close()


async def test_tls_to_a_plain_tcp_port() -> None:
    site = Site("tcp")
    await site.open()
    place = site.listener.address.removeprefix("tcp://")
    text = f"what answers at {place} does not speak TLS.*--insecure-plaintext, dial tcp://{place}; else check the port"
    with pytest.raises(ConnectionFailedError, match=text):
        await site.connect(**other_scheme(site))
    assert site.accepted == []
    await site.close()


async def elsewhere(answer: Callable[[asyncio.StreamWriter], None], text: str, read: int = 1) -> str:
    """What we are told when we dial a server that is none of ours; it must match."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(read)
        answer(writer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        with pytest.raises(ConnectionFailedError, match=text) as caught:
            await Site("tls").connect(address=f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.2)
    finally:
        server.close()
    await server.wait_closed()
    for _ in range(10):  # the streams of asyncio close some turns later
        await asyncio.sleep(0)
    return str(caught.value)


async def test_a_web_server() -> None:
    assert await elsewhere(lambda writer: writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak TLS")


@pytest.mark.parametrize("read", [1, 65536], ids=["with bytes unread", "with all read"])
async def test_something_that_hangs_up(read: int) -> None:
    assert await elsewhere(lambda writer: None, "connection (reset by peer|during the TLS handshake)", read)


async def test_nobody_there() -> None:
    site = Site("tls")
    await site.open()
    site.listener.close()
    with pytest.raises(ConnectionFailedError, match=r"cannot reach tls://.* within 0\.05 s: connection refused"):
        await site.connect(timeout=0.05)
