from __future__ import annotations

import asyncio
import logging
import ssl

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.protocol.messages import HEARTBEAT, Role
from myscheduler.transport import tcp_listen
from myscheduler.transport.addresses import parse
from myscheduler.transport.tls import _named
from tests.transport.site import CREDENTIALS, Site
from tests.transport.test_tls_connect import certificates, with_certificates


async def stranger(site: Site, context: ssl.SSLContext) -> bytes:
    """What somebody who speaks TLS, but is none of ours, gets to read."""
    address = parse(site.listener.address)
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname="x")
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


def open_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture
async def tls() -> Site:
    site = Site("tls")
    await site.open()
    return site


async def test_who_shows_no_certificate_reads_nothing(tls: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(ssl.SSLError, match="certificate required"):
        await stranger(tls, open_context())
    assert "no TLS connection: peer did not return a certificate" in caplog.text
    assert tls.listener.refused == 1
    await tls.close()


async def test_nothing_older_than_tls_1_3(tls: Site) -> None:
    context = open_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="protocol version"):
        await stranger(tls, context)
    await tls.close()


async def test_a_certificate_without_a_secret_reads_the_greeting_only(
    tls: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_listen, "HANDSHAKE_TIMEOUT_S", 0.1)
    # Not one of make_context: those are shared, and this one takes any server.
    context = open_context()
    own = CREDENTIALS.certificates
    assert own is not None
    with _named(f"{own.leaves['worker'].certificate}{own.leaves['worker'].key}".encode()) as path:
        context.load_cert_chain(path)
    assert len(await stranger(tls, context)) == 64
    assert tls.accepted == []
    await tls.close()


async def test_who_says_nothing_is_dropped(tls: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_listen, "HANDSHAKE_TIMEOUT_S", 0.05)
    address = parse(tls.listener.address)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    assert tls.listener.refused == 1
    await tls.close()


async def test_the_log_names_both_roles_if_they_differ(tls: Site, caplog: pytest.LogCaptureFixture) -> None:
    mixed = with_certificates(certificates(), client=certificates().leaves["worker"])
    with caplog.at_level(logging.WARNING), pytest.raises(PermissionError):
        await tls.connect(Role.CLIENT, credentials=mixed)
    name = CREDENTIALS.cluster + ".myscheduler"
    assert f"a peer proved to be client.{name}, but its certificate is for worker.{name}" in caplog.text
    await tls.close()


async def test_a_plain_listener_says_that_the_peer_speaks_tls(caplog: pytest.LogCaptureFixture) -> None:
    site = Site("tcp")
    await site.open()
    address = parse(site.listener.address)
    with caplog.at_level(logging.WARNING):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"\x16\x03\x01".ljust(368, b"\0"))
        await reader.read()
        writer.close()
    assert "it speaks TLS, and this address is plain tcp://" in caplog.text
    await site.close()


async def test_a_crowd_of_friends_gets_in(tls: Site) -> None:
    links = await asyncio.gather(*(tls.connect(incarnation=f"{i:016x}") for i in range(100)))
    assert sorted(link.peer for link in tls.accepted) == [f"{i:016x}" for i in range(100)]
    assert tls.listener.refused == 0
    for link, *_ in links:
        link.send((HEARTBEAT, {}))
    await tls.handlers[-1].received(1)
    await tls.close()


async def test_credentials_are_needed() -> None:
    with pytest.raises(UsageError, match="needs credentials to let anybody in"):
        await Site("tls").open(credentials=None)
