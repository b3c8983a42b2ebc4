from __future__ import annotations

import threading
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.client.api import Client, as_completed
from tests.client.fake import FakeCluster
from tests.client.support import eventually


def inc(x: int) -> int:
    return x + 1


def run_soon(client: Client, cluster: FakeCluster, count: int | None = None) -> None:
    eventually(lambda: cluster.queue)
    client.loop.call_soon_threadsafe(cluster.run_held, count)


def test_in_the_order_of_completion(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    a, b = client.submit(inc, 1), client.submit(inc, 2)
    completed = as_completed([b, a])
    assert (completed.count(), completed.is_empty(), completed.has_ready()) == (2, False, False)
    run_soon(client, cluster, 1)
    assert next(completed) is a
    run_soon(client, cluster)
    assert list(completed) == [b]
    assert (completed.count(), completed.is_empty()) == (0, True)


def test_results(client: Client, cluster: FakeCluster) -> None:
    futures = client.map(inc, range(10))
    assert sorted(result for _, result in as_completed(futures, with_results=True)) == list(range(1, 11))
    cluster.inline = False
    futures = client.map(inc, range(10))
    assert dict(as_completed(futures, with_results=True)) == dict(zip(futures, range(1, 11), strict=True))


def test_errors_are_raised_or_given(client: Client) -> None:
    future = client.submit(inc, "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        next(as_completed([future], with_results=True))
    ((found, error),) = as_completed([future], with_results=True, raise_errors=False)
    assert found is future
    assert isinstance(error, TypeError)
    assert list(as_completed([future])) == [future]


def test_futures_can_be_added_while_iterating(client: Client) -> None:
    completed = as_completed([client.submit(inc, 0)], with_results=True)
    results = []
    for _, result in completed:
        results.append(result)
        if result < 5:
            completed.add(client.submit(inc, result))
    assert results == [1, 2, 3, 4, 5]


def test_duplicates_come_as_often_as_given(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    future = client.submit(inc, 1)
    completed = as_completed([future, future])
    run_soon(client, cluster)
    assert list(completed) == [future, future]


def test_batches(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    futures = client.map(inc, range(4))
    completed = as_completed(futures)
    assert completed.next_batch(block=False) == []
    run_soon(client, cluster, 2)
    first = completed.next_batch()
    run_soon(client, cluster)
    assert first + [future for batch in completed.batches() for future in batch] == futures
    assert completed.next_batch() == []


def test_clear(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    futures = client.map(inc, range(3))
    completed = as_completed(futures)
    completed.clear()
    assert completed.is_empty()
    assert list(completed) == []
    assert all(future.record.waiters is None for future in futures)


def test_timeout_counts_from_the_beginning(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    completed = as_completed([client.submit(inc, 1, key="x")], timeout="20ms")
    with pytest.raises(TimeoutError, match=r"future 'x' still pending after 0\.02 s"):
        next(completed)


def test_two_threads_share_the_futures(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    completed = as_completed(client.map(inc, range(100)))
    seen: list[Any] = []
    threads = [threading.Thread(target=lambda: seen.extend(completed)) for _ in range(3)]
    for thread in threads:
        thread.start()
    run_soon(client, cluster)
    for thread in threads:
        thread.join(5)
    assert len(seen) == len(set(seen)) == 100


def test_only_futures(client: Client) -> None:
    with pytest.raises(UsageError, match="as_completed takes futures, not int 1"):
        as_completed([1])  # type: ignore[arg-type]


async def test_a_blocking_clients_futures_in_any_loop(client: Client) -> None:
    futures = client.map(inc, range(5))
    assert sorted([result async for _, result in as_completed(futures, with_results=True)]) == [1, 2, 3, 4, 5]
