from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import threading
from typing import Any

import pytest

from myscheduler.base.errors import (
    CancelledError,
    ClosedError,
    ClusterError,
    KilledWorkerError,
    LostDataError,
    UsageError,
)
from myscheduler.base.refs import TaskRef
from myscheduler.client.api import Client, Future, fire_and_forget, wait
from myscheduler.protocol import messages as m
from tests.client.fake import FakeCluster
from tests.client.support import eventually


def inc(x: int) -> int:
    return x + 1


def on_loop(client: Client, function: Any, *args: Any) -> None:
    client.loop.call_soon_threadsafe(function, *args)


class TestReferences:
    def test_the_last_future_releases_the_key(self, client: Client, cluster: FakeCluster) -> None:
        first = client.submit(inc, 1, key="x")
        second = Future("x", client)
        assert second.result(5) == 2
        del first
        gc.collect()
        assert client.submit(inc, 1).result(5) == 2
        assert "x" in cluster.values
        del second
        eventually(lambda: "x" not in cluster.values)
        assert "x" not in client.futures

    def test_attaching_to_the_key_of_somebody_else(self, client: Client, cluster: FakeCluster) -> None:
        with Client(cluster, set_as_default=False) as other:
            theirs = other.submit(inc, 1, key="shared")
            assert theirs.result(5) == 2
            assert Future("shared", client).result(5) == 2
            assert Future("unknown", client).exception is not None
            with pytest.raises(CancelledError, match="future 'unknown' was cancelled: unknown"):
                Future("unknown", client).result(5)

    def test_release_is_idempotent_and_explains_itself(self, client: Client, cluster: FakeCluster) -> None:
        cluster.held = True
        future = client.submit(inc, 1)
        future.release()
        future.release()
        with pytest.raises(CancelledError, match="released by its owner"):
            future.result(5)
        eventually(lambda: sum(future.key in message[1] for message in cluster.ops(m.RELEASE)) == 1)
        assert future.cancelled()

    def test_a_key_released_and_submitted_again_gets_the_new_result(self, client: Client, cluster: FakeCluster) -> None:
        for number in range(50):
            future = client.submit(inc, number, key="x")
            if number % 3:
                del future
            else:
                assert future.result(5) in range(number + 2)
        assert client.submit(inc, 100, key="x").result(5) in range(102)

    def test_a_future_in_a_result_becomes_a_future_of_this_client(self, client: Client) -> None:
        inner = client.submit(inc, 1, key="inner")
        assert inner.result(5) == 2
        with client.as_current():
            outer = pickle.loads(pickle.dumps({"f": inner}))
        assert isinstance(outer["f"], Future)
        assert outer["f"].record is inner.record
        assert outer["f"].result(5) == 2

    def test_without_a_client_a_bare_reference_is_unpickled(self, cluster: FakeCluster) -> None:
        with Client(cluster) as client:
            data = pickle.dumps(client.submit(inc, 1, key="x"))
        loaded = pickle.loads(data)
        assert type(loaded) is TaskRef
        assert loaded.key == "x"

    def test_fire_and_forget_keeps_a_task_until_it_is_done(self, client: Client, cluster: FakeCluster) -> None:
        cluster.held = True
        future = client.submit(inc, 1, key="fired")
        fire_and_forget(future)
        fire_and_forget([future])
        del future
        gc.collect()
        other = client.submit(inc, 1)
        eventually(lambda: len(cluster.queue) == 2)
        assert cluster.ops(m.RELEASE) == []
        on_loop(client, cluster.run_held)
        assert other.result(5) == 2
        eventually(lambda: "fired" not in client.futures)


class TestOutcomes:
    def test_timeouts_name_the_future(self, client: Client, cluster: FakeCluster) -> None:
        cluster.held = True
        future = client.submit(inc, 1, key="x")
        for ask in (future.result, future.exception, future.traceback):
            with pytest.raises(TimeoutError, match=r"future 'x' still pending after 0\.01 s"):
                ask("10ms")
        assert repr(future) == "<Future: pending, key: x>"
        assert client.session.machine.records["x"].waiters is None

    def test_the_reason_of_a_cancellation_reaches_who_waits(self, client: Client, cluster: FakeCluster) -> None:
        cluster.held = True
        future = client.submit(inc, 1, key="x")
        caught: list[BaseException] = []

        def waiter() -> None:
            try:
                future.result(5)
            except CancelledError as error:
                caught.append(error)

        thread = threading.Thread(target=waiter)
        thread.start()
        future.cancel(reason="no longer needed")
        thread.join(5)
        assert [str(error) for error in caught] == ["future 'x' was cancelled: no longer needed"]
        with pytest.raises(CancelledError):
            future.exception()

    def test_retry(self, client: Client, cluster: FakeCluster) -> None:
        tries: list[int] = []
        cluster.functions[b"?"] = None

        future = client.submit(inc, "not a number", key="x")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            future.result(5)
        on_loop(client, cluster.rows.__setitem__, "x", (*cluster.rows["x"][:2], pickle.dumps(((1,), {})), (), 0, 0))
        future.retry()
        assert future.result(5) == 2
        assert future.exception(5) is None
        assert future.traceback(5) is None
        assert tries == []

    def test_a_refused_retry_raises_and_leaves_the_failure(self, client: Client, cluster: FakeCluster) -> None:
        future = client.submit(inc, "not a number")  # type: ignore[arg-type]
        wait(future, 5)
        cluster.refuse["retry"] = ("usage", "not now")
        with pytest.raises(UsageError, match="not now"):
            client.retry([future])
        assert future.status == "error"

    @pytest.mark.parametrize(
        ("text", "kind", "message"),
        [
            ("KilledWorkerError: task 'x' was on 4 workers that died", KilledWorkerError, "task 'x' was on 4"),
            ("SomethingElse: new", ClusterError, "SomethingElse: new"),
            ("no colon", ClusterError, "no colon"),
        ],
    )
    def test_failures_that_the_scheduler_wrote(
        self, client: Client, cluster: FakeCluster, text: str, kind: Any, message: str
    ) -> None:
        cluster.held = True
        future = client.submit(inc, 1, key="x")
        eventually(lambda: cluster.queue)
        on_loop(client, cluster.links[0].send, (m.FAILED, (("x", b"", text, "", "x"),)))
        with pytest.raises(kind, match=message):
            future.result(5)

    def test_lost_data_says_so(self, client: Client, cluster: FakeCluster) -> None:
        cluster.held = True
        future = client.submit(inc, 1, key="x")
        eventually(lambda: cluster.queue)
        on_loop(client, cluster.links[0].send, (m.LOST, (("x", "its only holder died"),)))
        with pytest.raises(LostDataError, match="future 'x' is lost: its only holder died"):
            future.result(5)

    def test_when_the_scheduler_goes_pending_futures_end_and_finished_ones_stay(
        self, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Client(cluster) as client, caplog.at_level(logging.WARNING):
            done = client.submit(inc, 1)
            assert done.result(5) == 2
            cluster.held = True
            pending = client.submit(inc, 2)
            on_loop(client, cluster.stop)
            with pytest.raises(ClosedError, match="the connection to the scheduler was lost"):
                pending.result(5)
            assert done.result(5) == 2
            assert (pending.status, client.status) == ("lost", "closed")
            with pytest.raises(ClosedError, match="connection to the scheduler was lost"):
                client.submit(inc, 3)
            eventually(lambda: "the connection to the scheduler was lost" in caplog.text)  # by the client's own thread

    def test_blocking_on_the_loop_is_refused(self, client: Client, cluster: FakeCluster) -> None:
        cluster.held = True
        future = client.submit(inc, 1)

        async def wrong() -> None:
            future.result()

        with pytest.raises(UsageError, match="await it instead"):
            client.session.run(wrong())

    async def test_a_blocking_clients_future_can_be_awaited_in_any_loop(self, client: Client) -> None:
        assert asyncio.get_running_loop() is not client.loop
        assert await client.submit(inc, 1) == 2


class TestCallbacks:
    def test_they_run_in_one_other_thread(self, client: Client, cluster: FakeCluster) -> None:
        cluster.held = True
        called: list[Any] = []
        future = client.submit(inc, 1)
        future.add_done_callback(lambda f: called.append((f, threading.current_thread().name)))
        eventually(lambda: cluster.queue)
        on_loop(client, cluster.run_held)
        eventually(lambda: called)
        future.add_done_callback(lambda f: called.append((f, threading.current_thread().name)))
        eventually(lambda: len(called) == 2)
        assert called == [(future, "myscheduler-callbacks")] * 2

    def test_what_they_raise_is_logged(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        after = threading.Event()
        future = client.submit(inc, 1)
        future.add_done_callback(lambda f: 1 // 0)
        future.add_done_callback(lambda f: after.set())
        assert after.wait(5)
        assert "a done callback of <Future: finished" in caplog.text
