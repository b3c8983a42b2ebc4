from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import ClusterError, KeyTypeError, SerializationError, UsageError
from myscheduler.client.api import Client
from myscheduler.graph.tokenize import tokenize
from myscheduler.protocol import messages as m
from tests.client.fake import FakeCluster


def test_futures_come_in_the_shape_of_the_data(client: Client) -> None:
    assert client.gather(client.scatter([1, 2, 3])) == [1, 2, 3]
    assert client.gather(client.scatter((1, 2))) == (1, 2)
    assert client.gather(client.scatter({"a": 1, ("b", 0): 2})) == {"a": 1, ("b", 0): 2}
    assert client.scatter({"a": 1})["a"].key == "a"
    assert client.scatter("text").result(5) == "text"
    assert client.scatter([]) == []


def test_data_goes_to_workers_directly(client: Client, cluster: FakeCluster) -> None:
    future = client.scatter(b"x" * 100_000)
    assert future.result(5) == b"x" * 100_000
    assert [op for op, _ in cluster.data_requests] == [m.PUT_DATA]
    assert cluster.ops(m.SUBMIT) == []
    assert future.type == "bytes"


def test_equal_data_is_sent_once_if_hashed(client: Client, cluster: FakeCluster) -> None:
    first, second = client.scatter([[1], [1]])
    third = client.scatter([1], hash=True)[0]
    assert first.key == second.key != third.key
    assert len(cluster.data_requests) == 2
    a, b = client.scatter([[1], [1]], hash=False)
    assert a.key != b.key


def test_large_data_has_the_same_name_for_all_clients_of_a_cluster(client: Client, cluster: FakeCluster) -> None:
    data = bytes(5_000_000)
    with Client(cluster, set_as_default=False) as other:
        keys = {client.scatter(data).key, client.scatter(bytearray(data)).key, other.scatter(data).key}
    assert len(keys) == 2  # bytes, bytearray
    assert f"bytes-{tokenize(bytes, data)}" not in keys  # which those could compute who do not have the secret


def test_the_secret_of_the_cluster_decides_how_large_data_is_named(cluster: FakeCluster) -> None:
    ours, others = Credentials.generate(), Credentials.generate()
    data = bytes(5_000_000)
    keys = []
    for credentials in (ours, ours.restricted("client"), others):
        with Client(cluster, set_as_default=False) as client:
            client.session.data.credentials = credentials
            keys.append(client.scatter(data).key)
    assert keys[0] == keys[1] != keys[2]


def test_scattered_data_is_an_argument_like_others(client: Client) -> None:
    assert client.submit(len, client.scatter("text")).result(5) == 4


@pytest.mark.parametrize("direct", [None, False])
def test_unreachable_workers_get_it_through_the_scheduler(
    client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, direct: bool | None
) -> None:
    monkeypatch.setattr("myscheduler.client.api.datalinks.CONNECT_TIMEOUT_S", 0.01)
    cluster.reachable = False
    assert client.gather(client.scatter([1, 2], workers="alice", direct=direct)) == [1, 2]
    (message,) = cluster.ops(m.SUBMIT)
    assert message[3] == ((0, 0, ("alice",), False, None, None),)
    assert cluster.data_requests == []


def test_it_waits_for_a_worker(client: Client, cluster: FakeCluster) -> None:
    cluster.refuse["place"] = ("no-workers", "no worker is connected")
    cluster.refuse["wait_for_workers"] = ("usage", "waited")
    with pytest.raises(UsageError, match="waited"):
        client.scatter([1])
    del cluster.refuse["wait_for_workers"]
    with pytest.raises(TimeoutError, match=r"no worker took the data within 0\.05 s"):
        client.scatter([1], timeout="50ms")


def test_named_workers_that_are_not_there(client: Client, cluster: FakeCluster) -> None:
    cluster.refuse["place"] = ("no-workers", "none of the workers bob is connected")
    cluster.answers["wait_for_workers"] = None
    with pytest.raises(ClusterError, match="none of the workers bob is connected"):
        client.scatter([1], workers=["bob"])


def test_more_than_one_message(client: Client, cluster: FakeCluster) -> None:
    assert client.gather(client.scatter(list(range(600)))) == list(range(600))
    assert [len(rows) for op, rows in cluster.data_requests if op == m.PUT_DATA] == [512, 88]
    assert [len(message[2]) for message in cluster.ops(m.PLACED)] == [512, 88]


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        ({3.5: 1, True: 2}, KeyTypeError, "key True is a bool"),
        ([(x for x in ())], SerializationError, "data of type generator cannot be pickled"),
    ],
)
def test_misuse(client: Client, data: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        client.scatter(data)


def test_futures_are_not_data(client: Client) -> None:
    with pytest.raises(UsageError, match="takes data"):
        client.scatter([client.submit(len, "x")])
