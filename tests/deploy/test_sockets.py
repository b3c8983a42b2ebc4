"""Listening sockets and what their addresses mean."""

from __future__ import annotations

import socket

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.deploy.sockets import (
    PortInUseError,
    address_of,
    is_wildcard,
    listen,
    listen_for_dashboard,
    parse_dashboard_address,
)


def test_connections_wait_before_anybody_accepts() -> None:
    with listen("127.0.0.1", 0) as sock:
        assert address_of(sock) == f"tcp://127.0.0.1:{sock.getsockname()[1]}"
        with socket.create_connection(sock.getsockname(), timeout=5) as connection:
            assert connection.getpeername() == sock.getsockname()


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"port {port} on 127.0.0.1 is taken by another process \(`ss -ltnp"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [
        ("127.0.0.1", 65536, "65536 is no port"),
        ("no.such.host.invalid", 0, "no such address"),
        ("192.0.2.1", 0, "cannot listen on 192.0.2.1:0"),
        ("a" * 70, 0, "no such address"),
    ],
)
def test_an_impossible_address_is_the_callers_fault(host: str, port: int, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        listen(host, port)


def test_the_dashboard_takes_the_next_free_port_and_says_so() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        sock, note = listen_for_dashboard("127.0.0.1", port)
        with sock:
            assert sock.getsockname()[1] != port
            assert note == f"port {port} is taken; the dashboard is on {sock.getsockname()[1]}"


def test_the_dashboard_takes_what_it_is_given() -> None:
    sock, note = listen_for_dashboard("127.0.0.1", 0)
    with sock:
        assert note is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8787", ("127.0.0.1", 8787)),
        ("8080", ("127.0.0.1", 8080)),
        (":0", ("127.0.0.1", 0)),
        ("", ("127.0.0.1", 8787)),
        ("localhost", ("localhost", 8787)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::1]", ("::1", 8787)),
        ("[::1]:99", ("::1", 99)),
    ],
)
def test_dashboard_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_dashboard_address(text) == expected


def test_a_dashboard_address_that_is_none() -> None:
    with pytest.raises(UsageError, match="'http' is no port; write it as ':8787' or 'host:8787'"):
        parse_dashboard_address("host:http")


def test_wildcards() -> None:
    assert [is_wildcard(host) for host in ("", "0.0.0.0", "::", "127.0.0.1")] == [True, True, True, False]
