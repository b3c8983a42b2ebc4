from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.transport.addresses import Address, parse


@pytest.mark.parametrize(
    ("text", "address", "canonical"),
    [
        ("tcp://10.0.0.5:1", Address("tcp", "10.0.0.5", 1), "tcp://10.0.0.5:1"),
        ("10.0.0.5", Address("tcp", "10.0.0.5", 8786), "tcp://10.0.0.5:8786"),
        ("Node1.Cluster:0", Address("tcp", "node1.cluster", 0), "tcp://node1.cluster:0"),
        (" tcp://host:5/ ", Address("tcp", "host", 5), "tcp://host:5"),
        ("tcp://:8786", Address("tcp", "", 8786), "tcp://:8786"),
        ("tcp://[::1]:9", Address("tcp", "::1", 9), "tcp://[::1]:9"),
        ("[fe80::1]", Address("tcp", "fe80::1", 8786), "tcp://[fe80::1]:8786"),
        ("inproc://a/b", Address("inproc", "a/b", 0), "inproc://a/b"),
        ("inproc://", Address("inproc", "", 0), "inproc://"),
    ],
)
def test_addresses_are_taken_apart(text: str, address: Address, canonical: str) -> None:
    assert parse(text) == address
    assert str(address) == canonical
    assert parse(canonical) == address


def test_the_default_port_can_be_chosen() -> None:
    assert parse("host", 0).port == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("http://host:80", "has the unknown scheme 'http'; write tcp://host:port"),
        ("tcp://host:port", "'port' is no port from 0 to 65535"),
        ("tcp://host:65536", "'65536' is no port"),
        ("tcp://host:-1", "'-1' is no port"),
        ("tcp://host:\u0661", "is no port"),
        ("::1:8786", r"put an IPv6 host in brackets, tcp://\[::1\]:port"),
        ("tcp://[::1", r"write tcp://\[::1\]:port for IPv6"),
        ("tcp://[::1]8786", r"write tcp://\[::1\]:port for IPv6"),
        ("tcp://user@host:1", "'user@host' is no host"),
        ("tcp://host/path:1", "'host/path' is no host"),
        ("tcp://ho\nst:1", "is no host"),
        (None, "an address is a string such as tcp://host:8786, not a NoneType"),
    ],
)
def test_what_is_no_address_is_explained(text: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse(text)
