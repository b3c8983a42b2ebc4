from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest

from myscheduler.base.errors import LostDataError, UsageError
from myscheduler.client.api import Client, Future
from myscheduler.protocol import messages as m
from myscheduler.transport import listen
from tests.client.fake import FakeCluster
from tests.client.support import eventually

Point = namedtuple("Point", "x y")


def inc(x: int) -> int:
    return x + 1


class Sour:
    """Cannot be unpickled."""

    def __setstate__(self, state: Any) -> None:
        raise ValueError("sour")

    def __getstate__(self) -> Any:
        return {"a": 1}


def test_shapes_are_kept(client: Client) -> None:
    a, b = client.map(inc, [0, 1])
    assert client.gather(a) == 1
    assert client.gather({"a": a, "more": [b, (a, 3)], "set": {b}}) == {"a": 1, "more": [2, (1, 3)], "set": {2}}
    assert client.gather(Point(a, b)) == Point(1, 2)
    assert client.gather(iter([a, b])) == [1, 2]
    assert client.gather([]) == []


def test_the_same_future_twice_is_the_same_object(client: Client) -> None:
    future = client.submit(list, "ab")
    first, second = client.gather([future, future])
    assert first is second == ["a", "b"]


@pytest.mark.parametrize("direct", [None, True, False])
def test_results_elsewhere_are_fetched(client: Client, cluster: FakeCluster, direct: bool | None) -> None:
    cluster.inline = False
    futures = client.map(inc, range(600))
    assert client.gather(futures, direct=direct) == list(range(1, 601))
    assert len(cluster.ops(m.FETCH)) == (2 if direct is False else 0)
    assert len(cluster.data_requests) == (0 if direct is False else 2)


def test_large_results_come_in_parts(client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("myscheduler.client.api.gather._BYTES_PER_REQUEST", 100)
    cluster.inline = False
    futures = client.map(inc, range(50))
    assert client.gather(futures) == list(range(1, 51))
    assert len(cluster.data_requests) > 10
    assert cluster.ops(m.FETCH) == []


def test_a_result_that_cannot_be_unpickled_ends_the_fetching_of_others(
    client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myscheduler.client.api.gather._BYTES_PER_REQUEST", 1)
    cluster.inline = False
    futures = client.map(inc, range(3), key=["a", "b", "c"])
    client.gather(futures)

    def spoil() -> None:
        cluster.values["b"] = Sour()

    client.session.run(_call(spoil))
    with pytest.raises(ValueError, match="sour"):
        client.gather(futures)
    assert client.gather([futures[0], futures[2]]) == [1, 3]


def test_an_unreachable_worker_is_remembered_and_the_scheduler_asked(
    client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myscheduler.client.api.datalinks.CONNECT_TIMEOUT_S", 0.01)
    cluster.inline = cluster.reachable = False
    assert client.gather(client.map(inc, [1, 2])) == [2, 3]
    assert len(cluster.ops(m.FETCH)) == 1
    monkeypatch.setattr("myscheduler.client.api.datalinks.CONNECT_TIMEOUT_S", 1000)
    assert client.submit(inc, 3).result(5) == 4


def test_no_call_waits_long_for_an_unreachable_worker(
    client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myscheduler.client.api.datalinks.CONNECT_TIMEOUT_S", 1000)
    monkeypatch.setattr("myscheduler.client.api.datalinks.PATIENCE_S", 0.01)
    cluster.inline = cluster.reachable = False
    assert client.submit(inc, 1).result(5) == 2
    monkeypatch.setattr("myscheduler.client.api.datalinks.PATIENCE_S", 1000)
    monkeypatch.setattr("myscheduler.client.api.datalinks.UNREACHABLE_S", 0)
    assert client.submit(inc, 2).result(5) == 3
    cluster.reachable = True
    assert client.submit(inc, 3).result(5) == 4, "another worker was waited for, though none has ever been reached"
    assert len(cluster.ops(m.FETCH)) >= 2


def test_a_worker_that_lets_us_in_late_is_asked_from_then_on(
    client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myscheduler.client.api.datalinks.CONNECT_TIMEOUT_S", 1000)
    monkeypatch.setattr("myscheduler.client.api.datalinks.PATIENCE_S", 0.01)
    cluster.inline = cluster.reachable = False
    assert client.submit(inc, 1).result(5) == 2
    assert cluster.data_requests == []

    async def listen_late() -> None:
        cluster.listeners.append(
            await listen(
                "inproc://gone",
                credentials=None,
                incarnation="d" * 16,
                own_role=m.Role.WORKER,
                accept=cluster.accept_data,
            )
        )

    client.session.run(listen_late())
    eventually(lambda: client.submit(inc, 2, pure=False).result(5) == 3 and cluster.data_requests)
    assert len(cluster.ops(m.FETCH)) >= 1


def test_what_the_worker_misses_comes_through_the_scheduler(client: Client, cluster: FakeCluster) -> None:
    cluster.inline = False
    futures = client.map(inc, [1, 2], key=["a", "b"])
    assert futures[1].exception(5) is None
    original = dict(cluster.values)

    def lose() -> None:
        del cluster.values["a"]
        cluster.values["b"] = original["b"]

    client.session.run(_call(lose))
    with pytest.raises(LostDataError, match="the result of 'a' cannot be fetched: gone"):
        client.gather(futures)
    assert client.gather(futures, errors="skip") == [3]


def test_a_worker_that_hangs_up_does_not_matter(client: Client, cluster: FakeCluster) -> None:
    cluster.inline = False
    first = client.submit(inc, 1)
    assert first.result(5) == 2

    client.session.run(_call(lambda: cluster.data_links[0].close("crashed")))
    assert first.result(5) == 2
    assert len(cluster.ops(m.FETCH)) <= 1


def test_a_worker_that_stalls_is_given_up(
    client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myscheduler.client.api.datalinks.STALLED_S", 0.02)
    cluster.inline = False
    cluster.stalled = True
    assert client.gather(client.map(inc, [1, 2])) == [2, 3]
    assert len(cluster.ops(m.FETCH)) == 1
    assert not client.session.run(_is_reachable(client, cluster))


async def _is_reachable(client: Client, cluster: FakeCluster) -> bool:
    return client.session.data.is_reachable(cluster.worker.address)


def test_errors_are_raised_as_soon_as_they_are_known(client: Client, cluster: FakeCluster) -> None:
    good, bad, more = client.map(inc, [1, "x", 2])
    with pytest.raises(TypeError):
        client.gather([good, bad, more])
    cluster.held = True
    pending = client.submit(inc, 1)
    with pytest.raises(TypeError):
        client.gather([pending, bad])


def test_errors_can_be_skipped(client: Client) -> None:
    good, bad = client.map(inc, [1, "x"])
    assert client.gather([good, bad], errors="skip") == [2]
    assert client.gather({"a": good, "b": bad, "c": [bad, good]}, errors="skip") == {"a": 2, "c": [2]}
    assert client.gather(Point(good, bad), errors="skip") == (2,)
    with pytest.raises(UsageError, match="needs a container"):
        client.gather(bad, errors="skip")


def test_misuse(client: Client, cluster: FakeCluster) -> None:
    with pytest.raises(UsageError, match="errors='ignore' is not one of"):
        client.gather([], errors="ignore")  # type: ignore[arg-type]
    with Client(cluster, set_as_default=False) as other, pytest.raises(UsageError, match="gather it there"):
        client.gather(other.submit(inc, 1))


def test_futures_inside_results_become_futures_of_this_client(client: Client, cluster: FakeCluster) -> None:
    with Client(cluster) as other:  # the newest default, and not the one that gathers
        client.submit(inc, 1, key="inner").result(5)
        keep = client.submit(inc, 1, key="inner")
        outer = client.submit(make_future, "inner")
        found: Any = outer.result(5)
        assert isinstance(found, Future)
        assert found.client is client is not other
        assert found.result(5) == keep.result(5)


def make_future(key: str) -> Any:
    from myscheduler.base.refs import TaskRef

    class Stand(TaskRef):
        def reduce_outside_call(self) -> tuple[Any, ...]:
            from myscheduler.client.api.futures import _attach

            return (_attach, (self.key,))

    return Stand(key)


async def _call(function: Any) -> None:
    function()
