from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.client.api import FIRST_COMPLETED, FIRST_EXCEPTION, Client, DoneAndNotDone, wait
from tests.client.fake import FakeCluster
from tests.client.support import eventually


def inc(x: int) -> int:
    return x + 1


def run_soon(client: Client, cluster: FakeCluster, count: int | None = None) -> None:
    eventually(lambda: cluster.queue)
    client.loop.call_soon_threadsafe(cluster.run_held, count)


def test_all(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    futures = client.map(inc, range(3))
    run_soon(client, cluster)
    done, not_done = wait(futures, 5)
    assert (done, not_done) == (set(futures), set())
    assert wait(futures[0]).done == {futures[0]}
    assert wait([]) == DoneAndNotDone(set(), set())


def test_duplicates_count_once_they_are_done(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    (future,) = client.map(inc, [1])
    run_soon(client, cluster)
    assert wait([future, future], 5).done == {future}


def test_first_completed(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    futures = client.map(inc, range(3))
    run_soon(client, cluster, 1)
    assert wait(futures, 5, FIRST_COMPLETED) == ({futures[0]}, {futures[1], futures[2]})
    assert wait(futures, 5, FIRST_COMPLETED).done == {futures[0]}
    assert futures[1].record.waiters is None


def test_first_exception(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    futures = client.map(inc, [0, "x", 2])
    run_soon(client, cluster, 2)
    assert wait(futures, 5, FIRST_EXCEPTION) == ({futures[0], futures[1]}, {futures[2]})
    assert wait(futures, 5, FIRST_EXCEPTION).not_done == {futures[2]}


def test_timeout_says_how_many(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    futures = client.map(inc, range(3), key=["a", "b", "c"])
    with pytest.raises(TimeoutError, match=r"future 'a' and 2 more still pending after 0\.01 s"):
        wait(futures, 0.01)
    assert all(future.record.waiters is None for future in futures)


@pytest.mark.parametrize(
    ("futures", "options", "text"),
    [
        ([1], {}, "wait\\(\\) takes futures, not int 1"),
        ([], {"return_when": "SOME"}, "return_when='SOME' is not one of"),
    ],
)
def test_misuse(futures: Any, options: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        wait(futures, **options)


def test_futures_of_two_clients(client: Client, cluster: FakeCluster) -> None:
    with Client(cluster, set_as_default=False) as other, pytest.raises(UsageError, match="belong to different clients"):
        wait([client.submit(inc, 1), other.submit(inc, 1)])


def test_ctrl_c_ends_a_wait(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    future = client.submit(inc, 1)

    def interrupt() -> None:
        eventually(lambda: future.record.waiters)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        future.result()
    thread.join()
    assert future.record.waiters is None


def test_many_threads_wait_for_one_future(client: Client, cluster: FakeCluster) -> None:
    cluster.held = True
    future = client.submit(inc, 1)
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(future.result(5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(future.record.waiters or ()) == 8)
    run_soon(client, cluster)
    for thread in threads:
        thread.join()
    assert results == [2] * 8
