from __future__ import annotations

import gc
import itertools
from typing import Any

import pytest

from myscheduler.base.errors import ClosedError, KeyTypeError, SerializationError, UsageError
from myscheduler.base.refs import TaskRef
from myscheduler.client.api import Client, Future, session, wait
from myscheduler.client.api import futures as futures_module
from myscheduler.client.records import Record
from myscheduler.graph.delayed import delayed
from myscheduler.protocol import messages as m
from tests.client.fake import FakeCluster
from tests.client.support import eventually


def inc(x: int, by: int = 1) -> int:
    return x + by


class TestSubmit:
    def test_a_call_runs_and_its_future_says_so(self, client: Client) -> None:
        future = client.submit(pow, 2, 10)
        assert future.result(5) == 1024
        assert (future.status, future.done(), future.cancelled(), future.type) == ("finished", True, False, "int")
        assert repr(future) == f"<Future: finished, type: int, key: {future.key}>"
        assert future.key == f"pow-{client.id[:8]}-0"

    def test_every_call_runs_unless_pure(self, client: Client) -> None:
        assert client.submit(inc, 1).key != client.submit(inc, 1).key
        first = client.submit(inc, 1, pure=True)
        assert client.submit(inc, 1, pure=True).key == first.key
        assert client.submit(inc, 2, pure=True).key != first.key

    def test_a_key_held_already_is_not_submitted_again(self, client: Client, cluster: FakeCluster) -> None:
        first = client.submit(inc, 1, key="x")
        assert client.submit(inc, 100, key="x").result(5) == 2
        assert first.result(5) == 2
        assert sum(len(message[4]) for message in cluster.ops(m.SUBMIT)) == 1

    def test_futures_in_arguments_become_dependencies_at_any_depth(self, client: Client, cluster: FakeCluster) -> None:
        one, two = client.submit(inc, 0), client.submit(inc, 1)
        future = client.submit(lambda numbers, more: sum(numbers) + more["two"], [one, one], more={"two": two})
        assert future.result(5) == 4
        assert cluster.rows[future.key][3] == (one.key, two.key)

    def test_options_reach_the_scheduler(self, client: Client, cluster: FakeCluster) -> None:
        future = client.submit(
            inc, 1, workers="alice", allow_other_workers=True, resources={"GPU": 1}, retries=3, priority=5
        )
        assert future.result(5) == 2
        assert cluster.ops(m.SUBMIT)[-1][3] == ((5, 3, ("alice",), True, (("GPU", 1.0),), None),)

    def test_a_function_is_sent_once(self, client: Client, cluster: FakeCluster) -> None:
        wait([client.submit(inc, 1), client.submit(inc, 2)])
        client.submit(inc, 3).result(5)
        assert sum(len(message[2]) for message in cluster.ops(m.SUBMIT)) == 1

    def test_what_the_task_raises_is_raised_with_the_remote_traceback(self, client: Client) -> None:
        def broken() -> None:
            raise KeyError("deep inside")

        future = client.submit(broken)
        with pytest.raises(KeyError, match="deep inside") as caught:
            future.result(5)
        assert "in broken" in str(caught.value.__cause__)
        assert isinstance(future.exception(5), KeyError)
        assert "in broken" in str(future.traceback(5))
        assert (future.status, future.type) == ("error", None)

    def test_a_failed_input_is_named(self, client: Client) -> None:
        bad = client.submit(lambda: 1 // 0, key="bad")
        with pytest.raises(ZeroDivisionError) as caught:
            client.submit(inc, bad, key="user").result(5)
        assert caught.value.__notes__ == ["task 'user' failed because it needs 'bad', which raised this"]

    @pytest.mark.parametrize(
        ("arguments", "error", "text"),
        [
            ({"func": 3}, UsageError, "the first argument must be a function to call, not int 3"),
            ({"key": ["x"]}, KeyTypeError, "write it as a tuple"),
            ({"workers": []}, UsageError, "workers is empty"),
            ({"allow_other_workers": True}, UsageError, "means nothing without workers="),
            ({"retries": -1}, UsageError, "retries=-1"),
            ({"priority": "high"}, UsageError, "priority='high' is not a number"),
            ({"resources": {"GPU": -1}}, UsageError, "like {'GPU': 1}"),
            ({"by": (x for x in ())}, SerializationError, "argument 'by' of task 'inc' cannot be pickled"),
            ({"by": delayed(1)}, UsageError, r"pass client.compute\(...\)"),
        ],
    )
    def test_misuse_says_what_to_change(self, client: Client, arguments: Any, error: Any, text: str) -> None:
        with pytest.raises(error, match=text):
            client.submit(**{"func": inc, **arguments})

    def test_cancelled_futures_are_no_arguments(self, client: Client, cluster: FakeCluster) -> None:
        cluster.held = True
        future = client.submit(inc, 1)
        future.cancel()
        with pytest.raises(UsageError, match="was cancelled.*so it cannot be an argument of a new task"):
            client.submit(inc, future)

    def test_futures_of_another_cluster_are_no_arguments(self, client: Client) -> None:
        future = client.submit(inc, 1)
        future.session.cluster = "another"
        other: Any = TaskRef.__new__(Future)
        other.key, other.session, other.record, other.held = (
            "x",
            type("S", (), {"cluster": "?"})(),
            future.record,
            False,
        )
        with pytest.raises(UsageError, match="belongs to another cluster"):
            client.submit(inc, other)


class TestMap:
    def test_one_future_per_item_in_order(self, client: Client) -> None:
        assert client.gather(client.map(inc, range(1500))) == list(range(1, 1501))

    def test_iterables_run_in_parallel_to_the_shortest(self, client: Client) -> None:
        assert client.gather(client.map(inc, [1, 2, 3], itertools.count(10))) == [11, 13, 15]
        assert client.gather(client.map(inc, iter([1, 2]), by=5)) == [6, 7]
        assert client.map(inc, []) == []

    def test_messages_are_cut_and_order_is_the_position(self, client: Client, cluster: FakeCluster) -> None:
        wait(client.map(inc, range(1025)))
        messages = cluster.ops(m.SUBMIT)
        assert [len(message[4]) for message in messages] == [512, 512, 1]
        assert [message[6] for message in messages] == [True, True, False]
        assert len({message[1] for message in messages}) == 1
        assert [row[4] for message in messages for row in message[4]] == list(range(1025))

    def test_batch_size_bounds_messages(self, client: Client, cluster: FakeCluster) -> None:
        assert client.gather(client.map(inc, range(5), batch_size=2)) == [1, 2, 3, 4, 5]
        assert [len(message[4]) for message in cluster.ops(m.SUBMIT)] == [2, 2, 1]

    def test_keys(self, client: Client) -> None:
        assert [future.key for future in client.map(inc, [1, 2], key=["a", ("b", 0)])] == ["a", ("b", 0)]
        assert all(str(future.key).startswith("mine-") for future in client.map(inc, [1, 2], key="mine"))
        held = client.submit(inc, 100, key="held")
        futures = client.map(inc, [1, 2, 3], key=["k1", "held", "k3"])
        assert client.gather(futures) == [2, 101, 4]
        assert futures[1].record is held.record

    def test_large_arguments_are_named_as_scattered_data_is(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, digested = bytes(5_000_000), []
        keyed = client.session.digest_of_large

        def digest(data: bytes | memoryview) -> bytes:
            digested.append(len(data))
            return keyed(data)

        monkeypatch.setattr(client.session, "digest_of_large", digest)
        keys = [client.submit(len, data, pure=True).key, client.map(len, [data], pure=True)[0].key]
        assert digested == [len(data)] * 2
        monkeypatch.undo()
        assert client.submit(len, data, pure=True).key in keys

    def test_pure_shares_equal_calls(self, client: Client, cluster: FakeCluster) -> None:
        futures = client.map(inc, [1, 1, 2], pure=True)
        assert client.gather(futures) == [2, 2, 3]
        assert futures[0].key == futures[1].key
        assert client.gather(client.map(inc, [2, 1], pure=True)) == [3, 2]
        assert len(cluster.rows) == 2

    def test_large_shared_arguments_are_sent_once(self, client: Client, cluster: FakeCluster) -> None:
        table = b"x" * 100_000

        def size(x: int, table: bytes, small: int) -> int:
            return x + len(table) + small

        futures = client.map(size, range(600), table=table, small=1)
        assert client.gather(futures) == [x + 100_001 for x in range(600)]
        large = [row for message in cluster.ops(m.SUBMIT) for row in message[4] if not isinstance(row[2], bytes)]
        assert [row[0].split("-")[0] for row in large] == ["table"]
        assert cluster.ops(m.SUBMIT)[-1][4][0][3] == (large[0][0],)

    def test_a_failure_half_way_closes_the_request_and_drops_what_was_sent(
        self, client: Client, cluster: FakeCluster
    ) -> None:
        cluster.held = True
        with pytest.raises(SerializationError, match="argument 1 of task 'inc'"):
            client.map(inc, [*range(600), (x for x in ())])
        gc.collect()
        eventually(lambda: sum(len(message[1]) for message in cluster.ops(m.RELEASE)) == 512)
        messages = cluster.ops(m.SUBMIT)
        assert [(len(message[4]), message[6]) for message in messages] == [(512, True), (0, False)]

    @pytest.mark.parametrize(
        ("arguments", "options", "text"),
        [
            ((), {}, "needs at least one iterable"),
            (([1],), {"batch_size": 0}, "batch_size=0"),
            (([1, 2],), {"key": ["a"]}, "1 keys for 2 calls"),
        ],
    )
    def test_misuse(self, client: Client, arguments: Any, options: Any, text: str) -> None:
        with pytest.raises(UsageError, match=text):
            client.map(inc, *arguments, **options)


class TestBatches:
    def test_a_loop_of_submits_shares_messages_and_wakeups(self, client: Client, cluster: FakeCluster) -> None:
        before = client.session.wakeups
        futures = [client.submit(inc, number) for number in range(2000)]
        assert client.gather(futures)[-1] == 2000
        assert client.session.wakeups - before < 1000
        assert len(cluster.ops(m.SUBMIT)) < 1000

    def test_dropped_futures_are_released_in_batches(self, client: Client, cluster: FakeCluster) -> None:
        futures = client.map(inc, range(1000))
        wait(futures)
        del futures
        eventually(lambda: not cluster.wants and not client.futures)
        assert len(cluster.ops(m.RELEASE)) < 500

    def test_no_turn_releases_more_than_it_may(
        self, client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "_RELEASED_PER_TURN", 10)
        released: list[int] = []
        release = client.session.machine.release

        def count(records: list[Record]) -> None:
            released.append(len(records))
            release(records)

        monkeypatch.setattr(client.session.machine, "release", count)
        futures = client.map(inc, range(100))
        wait(futures)
        del futures
        eventually(lambda: not cluster.wants and not client.futures)
        assert (sum(released), max(released)) == (100, 10)

    def test_the_collector_spares_the_futures_of_a_client_that_has_many(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(futures_module, "_SPARED_FROM", 10)
        few = client.map(inc, range(10))
        many = client.map(inc, range(10, 20))
        one = client.submit(inc, 20)
        assert all(gc.is_tracked(future) and gc.is_tracked(future.record) for future in few)
        assert not any(gc.is_tracked(future) or gc.is_tracked(future.record) for future in [*many, one])
        assert client.gather([*few, *many, one]) == list(range(1, 22))
        del few, many, one
        eventually(lambda: not client.futures)

    def test_a_dropped_future_is_released_with_what_is_said_next_or_soon(
        self, client: Client, cluster: FakeCluster
    ) -> None:
        for number in range(200):
            assert client.submit(inc, number).result() == number + 1
        eventually(lambda: not cluster.wants and not client.futures)
        future = client.submit(inc, 1)
        wait(future)
        del future
        eventually(lambda: not cluster.wants and not client.futures)

    def test_nothing_is_submitted_after_close(self, cluster: FakeCluster) -> None:
        client = Client(cluster)
        client.close()
        with pytest.raises(ClosedError, match=f"client {client.id} was closed"):
            client.submit(inc, 1)
        with pytest.raises(ClosedError, match="was closed"):
            client.map(inc, [1])
