from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InternalError,
    MySchedulerError,
    ProtocolError,
    UsageError,
    VersionMismatchError,
)
from myscheduler.protocol.handshake import ClientHandshake, ServerHandshake
from myscheduler.protocol.messages import Role

SECRETS = {"client": b"c" * 32, "worker": b"w" * 32, "observer": b"o" * 32}
CREDENTIALS = Credentials("ab" * 16, SECRETS)
SERVER, CLIENT = "5" * 16, "c" * 16


def server(credentials: Credentials = CREDENTIALS, **options: Any) -> ServerHandshake:
    options = {"addresses": ["host:1"], "nonce": b"S" * 32, "role": Role.SCHEDULER, "incarnation": SERVER} | options
    return ServerHandshake(credentials, **options)


def client(credentials: Credentials = CREDENTIALS, role: Role = Role.CLIENT, **options: Any) -> ClientHandshake:
    options = {"incarnation": CLIENT, "dialled": "host:1", "nonce": b"C" * 32} | options
    return ClientHandshake(credentials, role, **options)


def run(one: ServerHandshake, other: ClientHandshake) -> list[bytes]:
    hello = one.start()
    proof = other.receive(hello)
    answer = one.receive(proof)
    assert other.receive(answer) == b""
    return [hello, proof, answer]


@pytest.mark.parametrize("role", [Role.CLIENT, Role.WORKER, Role.OBSERVER])
@pytest.mark.parametrize("own_role", [Role.SCHEDULER, Role.WORKER])
def test_both_sides_learn_who_the_other_is(role: Role, own_role: Role) -> None:
    one, other = server(role=own_role), client(role=role)
    assert [len(message) for message in run(one, other)] == [64, 368, 48]
    assert one.done
    assert other.done
    assert one.needed == other.needed == 0
    assert (one.peer_role, one.peer_incarnation) == (role, CLIENT)
    assert (other.peer_role, other.peer_incarnation) == (own_role, SERVER)


def test_bytes_may_trickle() -> None:
    one, other = server(), client()
    data: bytes = one.start()
    sides: list[Any] = [other, one]
    while data:
        side = sides[0]
        replies = [side.receive(data[i : i + 1]) for i in range(len(data))]
        assert not any(replies[:-1])
        data, sides = replies[-1], sides[::-1]
    assert one.done
    assert other.done


def test_a_wrong_secret_gets_no_proof_from_the_server() -> None:
    one = server()
    other = client(Credentials("ab" * 16, {"client": b"x" * 32}))
    with pytest.raises(AuthenticationError, match="a client has a wrong secret"):
        one.receive(other.receive(one.start()))
    assert not one.done
    assert "does not let us in as client: its secret for clients is another one" in str(other.closed_early())
    assert isinstance(other.closed_early(), AuthenticationError)


def test_the_secret_of_one_role_is_worth_nothing_for_another() -> None:
    one = server()
    other = client(Credentials("ab" * 16, {"client": SECRETS["observer"]}))
    with pytest.raises(AuthenticationError, match="wrong secret"):
        one.receive(other.receive(one.start()))
    with pytest.raises(AuthenticationError, match="hold no secret for workers"):
        client(CREDENTIALS.restricted("client"), Role.WORKER)


def test_a_server_without_the_secret_is_not_believed() -> None:
    one, other = server(Credentials("ab" * 16, {"client": b"x" * 32})), client()
    other.receive(one.start())
    with pytest.raises(AuthenticationError, match="could not prove that it belongs to cluster"):
        other.receive(SERVER.encode() + bytes(32))


def test_another_cluster_is_named_before_anything_is_proved() -> None:
    other = client(Credentials("cd" * 16, SECRETS))
    with pytest.raises(
        AuthenticationError, match=f"belongs to cluster {'ab' * 16}, our credentials are for .*{'cd' * 16}"
    ):
        other.receive(server().start())


def test_another_version_is_named_with_the_way_out() -> None:
    hello = bytearray(server().start())
    hello[13] = 2
    with pytest.raises(
        VersionMismatchError, match="speaks version 2 .* speaks 1: install the same myscheduler .* is here"
    ):
        client().receive(bytes(hello))
    one, other = server(), client()
    proof = bytearray(other.receive(one.start()))
    proof[13] = 9
    with pytest.raises(VersionMismatchError, match="version 9"):
        one.receive(bytes(proof))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0", b"SSH-2.0-OpenSSH"])
def test_what_is_no_myscheduler_is_recognised_by_its_first_bytes(answer: bytes) -> None:
    with pytest.raises(ConnectionFailedError, match=r"host:1 is no myscheduler: it began with .* Check the port"):
        client().receive(answer)


def test_a_stranger_is_recognised_by_the_server() -> None:
    with pytest.raises(ProtocolError, match="the peer is no myscheduler"):
        server().receive(b"GET / HTTP/1.1\r\n" * 23)
    assert isinstance(client().closed_early(), ConnectionFailedError)


def test_a_proof_for_another_address_is_refused() -> None:
    one, other = server(), client(dialled="host:2")
    with pytest.raises(AuthenticationError, match="dialled 'host:2', but this server only goes by host:1"):
        one.receive(other.receive(one.start()))
    run(server(addresses=None), client(dialled="anything:5"))


def test_a_proof_cannot_be_replayed() -> None:
    _, proof, _ = run(server(), client())
    with pytest.raises(AuthenticationError, match="wrong secret"):
        server(nonce=b"T" * 32).receive(proof)


def test_a_proof_cannot_be_reflected() -> None:
    one, other = server(), client()
    proof = other.receive(one.start())
    with pytest.raises(AuthenticationError, match="could not prove"):
        other.receive(CLIENT.encode() + proof[-32:])


def test_every_byte_of_the_proof_counts() -> None:
    good = client().receive(server().start())
    for index in range(len(good)):
        with pytest.raises(MySchedulerError):
            server().receive(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])


def test_every_byte_of_the_answer_counts() -> None:
    for index in range(48):
        one, other = server(), client()
        answer = bytearray(one.receive(other.receive(one.start())))
        answer[index] ^= 1
        with pytest.raises(AuthenticationError):
            other.receive(bytes(answer))


@given(noise=st.binary(min_size=368, max_size=368))
def test_noise_raises_only_our_errors(noise: bytes) -> None:
    with pytest.raises(ProtocolError):
        server().receive(noise)


def test_more_than_was_asked_for_is_refused() -> None:
    with pytest.raises(ProtocolError, match="more than the handshake allows"):
        client().receive(server().start() + b"x")


def test_misuse_is_named() -> None:
    with pytest.raises(UsageError, match="an incarnation is 16 hexadecimal digits, not 'w1'"):
        client(incarnation="w1")
    with pytest.raises(UsageError, match="longer than 256 bytes"):
        client(dialled="h" * 300 + ":1")
    with pytest.raises(InternalError, match="a nonce is 32 bytes"):
        server(nonce=b"")
