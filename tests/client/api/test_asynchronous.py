"""The same client on the caller's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from myscheduler.base.errors import CancelledError, UsageError
from myscheduler.client.api import FIRST_COMPLETED, Client, Future, as_completed, wait
from myscheduler.graph.delayed import delayed
from tests.client.fake import FakeCluster
from tests.client.support import eventually_async


def inc(x: int) -> int:
    return x + 1


@pytest.fixture
async def own_cluster() -> AsyncIterator[FakeCluster]:
    cluster = await FakeCluster().start()
    yield cluster
    cluster.stop()


@pytest.fixture
async def own_client(own_cluster: FakeCluster) -> AsyncIterator[Client]:
    async with Client(own_cluster, asynchronous=True) as client:
        yield client


async def test_whatever_would_wait_is_awaited(own_client: Client) -> None:
    future = own_client.submit(inc, 1)
    assert await future == 2
    assert await future.result() == 2  # type: ignore[misc]
    assert await future.exception() is None  # type: ignore[misc]
    assert await own_client.gather(own_client.map(inc, range(3))) == [1, 2, 3]
    (scattered,) = await own_client.scatter([5])
    assert await own_client.submit(inc, scattered) == 6


async def test_results_elsewhere(own_client: Client, own_cluster: FakeCluster) -> None:
    own_cluster.inline = False
    assert await own_client.gather(own_client.map(inc, range(3))) == [1, 2, 3]


async def test_awaiting_the_client_connects_it(own_cluster: FakeCluster) -> None:
    client = Client(own_cluster, asynchronous=True)
    assert client.status == "connecting"
    with pytest.raises(UsageError, match="client = await Client"):
        client.submit(inc, 1)
    assert await client is client
    assert client.status == "running"
    await client.close()
    await client.close()
    assert client.status == "closed"


async def test_wait(own_client: Client, own_cluster: FakeCluster) -> None:
    own_cluster.held = True
    futures = own_client.map(inc, range(3))
    await eventually_async(lambda: own_cluster.queue)
    asyncio.get_running_loop().call_soon(own_cluster.run_held, 1)
    found = await wait(futures, 5, FIRST_COMPLETED)  # type: ignore[misc]
    assert found == ({futures[0]}, {futures[1], futures[2]})
    with pytest.raises(TimeoutError, match="and 1 more still pending"):
        await wait(futures, 0.01)  # type: ignore[misc]


async def test_as_completed(own_client: Client, own_cluster: FakeCluster) -> None:
    futures = own_client.map(inc, range(3))
    assert sorted([result async for _, result in as_completed(futures, with_results=True)]) == [1, 2, 3]
    assert [future async for future in as_completed(futures)] == futures
    own_cluster.held = True
    with pytest.raises(TimeoutError):
        await anext(as_completed([own_client.submit(inc, 1)], timeout=0.01))
    bad = own_client.submit(inc, "x")  # type: ignore[arg-type]
    await eventually_async(lambda: len(own_cluster.queue) == 2)
    own_cluster.run_held()
    ((_, error),) = [pair async for pair in as_completed([bad], with_results=True, raise_errors=False)]
    assert isinstance(error, TypeError)


async def test_timeouts(own_client: Client, own_cluster: FakeCluster) -> None:
    own_cluster.held = True
    future = own_client.submit(inc, 1, key="x")
    with pytest.raises(TimeoutError, match=r"future 'x' still pending after 0\.01 s"):
        await future.result(0.01)  # type: ignore[misc]
    with pytest.raises(TimeoutError, match="future 'x'"):
        await future.exception(0.01)  # type: ignore[misc]


async def test_an_abandoned_await_leaves_nothing(own_client: Client, own_cluster: FakeCluster) -> None:
    own_cluster.held = True
    future = own_client.submit(inc, 1)
    waiting = asyncio.ensure_future(_await(future))
    await eventually_async(lambda: future.record.waiters)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert future.record.waiters is None


async def _await(future: Future[int]) -> int:
    return await future


async def test_cancel_and_close(own_cluster: FakeCluster) -> None:
    own_cluster.held = True
    async with Client(own_cluster, asynchronous=True) as client:
        first, second = client.map(inc, range(2))
        await client.cancel(first, reason="enough")
        with pytest.raises(CancelledError, match="enough"):
            await first
    with pytest.raises(CancelledError, match=f"client {client.id} was closed"):
        await second


async def test_graphs(own_client: Client) -> None:
    three = delayed(inc)(delayed(inc)(1))
    assert await own_client.compute(three) == 3
    assert await own_client.compute([three, 5], sync=True) == [3, 5]
    assert await own_client.get({"x": 1, "y": (inc, "x")}, "y") == 2
    kept = own_client.persist(three)
    assert await own_client.compute(kept) == 3
    with pytest.raises(UsageError, match="this client is asynchronous"):
        three.compute(scheduler=own_client)


async def test_entrances_are_not_mixed_up(own_cluster: FakeCluster) -> None:
    with pytest.raises(UsageError, match="used with `async with`"), Client(own_cluster, asynchronous=True):
        pass
    assert own_cluster.received == []


async def test_shutdown(own_cluster: FakeCluster) -> None:
    own_cluster.answers["shutdown"] = None
    client = await Client(own_cluster, asynchronous=True)
    await client.shutdown()
    assert client.status == "closed"


async def test_calls(own_client: Client, own_cluster: FakeCluster) -> None:
    own_cluster.answers["nthreads"] = (("tcp://a", 2),)
    assert await own_client.nthreads() == {"tcp://a": 2}
    assert repr(own_client) == f"<Client: '{own_cluster.scheduler_address}' processes=0 threads=0>"
