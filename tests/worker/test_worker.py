"""Whole workers against a scheduler that only listens, over TCP and in-process."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import (
    AuthenticationError,
    ConnectionFailedError,
    SerializationError,
    UsageError,
    VersionMismatchError,
)
from myscheduler.base.limits import MIB
from myscheduler.base.refs import TaskRef
from myscheduler.protocol import messages as m
from myscheduler.protocol import pickling
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.shared import PipedBlob
from myscheduler.transport.pipes import Outflows
from myscheduler.transport.shared import place
from myscheduler.worker.events import NOT_HELD
from myscheduler.worker.exits import ExitReason
from myscheduler.worker.server import context, registration, transfers
from myscheduler.worker.server.worker import Worker
from tests.worker.fake_scheduler import EPOCH, TIMEOUT_S, DataClient, FakeScheduler


class Stage:
    """A scheduler, and workers to be started."""

    def __init__(self, scheduler: FakeScheduler, stack: AsyncExitStack) -> None:
        self.scheduler = scheduler
        self._stack = stack

    async def worker(self, **options: Any) -> Worker:
        options = {"nthreads": 1, "memory_limit": None, **options}
        worker = Worker(self.scheduler.address, credentials=self.scheduler.credentials, **options)
        return await self._stack.enter_async_context(worker)

    async def data_client(self, worker: Worker) -> DataClient:
        client = await DataClient.open(worker.address, self.scheduler.credentials)
        self._stack.push_async_callback(client.close)
        return client


@pytest.fixture(params=["inproc://", "tcp://127.0.0.1:0"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    credentials = Credentials.generate() if request.param.startswith("tcp") else None
    async with FakeScheduler(request.param, credentials) as scheduler, AsyncExitStack() as stack:
        yield Stage(scheduler, stack)


async def test_hello_says_who_the_worker_is(stage: Stage) -> None:
    worker = await stage.worker(nthreads=2, name="alice", memory_limit="1 GiB", resources={"GPU": 2})
    hello = stage.scheduler.hellos[worker.incarnation]
    assert hello["name"] == "alice"
    assert hello["address"] == worker.address
    assert worker.address.startswith(stage.scheduler.address[:6])
    assert (hello["nthreads"], hello["memory_limit"], hello["resources"]) == (2, 2**30, {"GPU": 2.0})
    assert hello["pid"] == os.getpid()
    assert set(hello["versions"]) == {"python", "myscheduler"}
    assert worker._scheduler.link is not None
    assert worker._scheduler.link.epoch == EPOCH


async def test_without_a_name_the_address_is_the_name(stage: Stage) -> None:
    worker = await stage.worker()
    assert worker.name == worker.address
    assert repr(worker) == f"<Worker {worker.address} {worker.address}, 1 threads>"


async def test_a_task_runs_and_its_result_can_be_used_gathered_and_freed(stage: Stage) -> None:
    worker = await stage.worker()
    scheduler = stage.scheduler
    attempt = scheduler.compute(worker, "x", lambda: 20)
    assert await scheduler.result("x") == 20
    scheduler.compute(worker, "y", lambda x: x + 1, TaskRef("x"))
    assert await scheduler.result("y") == 21
    scheduler.send(worker, (m.GATHER, 5, (("x", attempt), ("z", 1))))
    data = await scheduler.until(lambda: [message for _, message in scheduler.received if message[0] == m.DATA])
    assert data == [(m.DATA, 5, (("x", pickling.dumps(20)),), (("z", NOT_HELD),))]
    scheduler.send(worker, (m.FREE, (("x", attempt),)))
    scheduler.send(worker, (m.GATHER, 6, (("x", attempt),)))
    data = await scheduler.until(lambda: [message for _, message in scheduler.received if message[:2] == (m.DATA, 6)])
    assert data[0][3] == (("x", NOT_HELD),)


async def test_an_error_is_reported(stage: Stage) -> None:
    worker = await stage.worker()
    stage.scheduler.compute(worker, "x", lambda: 1 / 0)
    assert isinstance(await stage.scheduler.error("x"), ZeroDivisionError)


@pytest.mark.parametrize("nbytes", [10, 3_000_000])
async def test_inputs_are_fetched_from_peers_and_announced(stage: Stage, nbytes: int) -> None:
    alice, bob = await stage.worker(name="alice"), await stage.worker(name="bob")
    scheduler = stage.scheduler
    attempt = scheduler.compute(alice, "x", lambda n: b"v" * n, nbytes, flags=0)
    await scheduler.until(lambda: "x" in scheduler.rows(m.RESULTS))
    scheduler.compute(bob, "y", len, TaskRef("x"), locations=(("x", attempt, nbytes, (alice.address,)),))
    assert await scheduler.result("y") == nbytes
    assert scheduler.rows(m.REPLICAS) == {"x": ("x", attempt)}


async def test_two_workers_can_fetch_from_each_other_many_keys_at_once(stage: Stage) -> None:
    alice, bob = await stage.worker(name="alice"), await stage.worker(name="bob")
    scheduler = stage.scheduler
    places = {}
    for number in range(40):
        holder = alice if number % 2 else bob
        places[number] = (scheduler.compute(holder, f"x-{number}", int, number), holder)
    await scheduler.until(lambda: len(scheduler.rows(m.RESULTS)) == 40)
    for name, worker in (("a", alice), ("b", bob)):
        locations = tuple(
            (f"x-{number}", attempt, 28, (holder.address,))
            for number, (attempt, holder) in places.items()
            if holder is not worker
        )
        references = [TaskRef(f"x-{number}") for number in places]
        scheduler.compute(worker, name, sum, references, locations=locations)
    assert (await scheduler.result("a"), await scheduler.result("b")) == (780, 780)


async def test_an_unreachable_holder_gives_the_task_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "STALLED_S", 3600.0)  # it is gone, so nobody waits
    alice, bob = await stage.worker(name="alice"), await stage.worker(name="bob")
    scheduler = stage.scheduler
    await bob.close()
    nowhere = bob.address
    scheduler.compute(alice, "y", len, TaskRef("x"), locations=(("x", 77, 8, (nowhere,)),))
    rows = await scheduler.until(lambda: scheduler.rows(m.UNFETCHED))
    assert rows["y"][2] == (("x", 77, nowhere),)


async def test_a_bug_of_ours_while_fetching_gives_the_task_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("nobody thought of this")

    alice, bob = await stage.worker(name="alice"), await stage.worker(name="bob")
    monkeypatch.setattr(transfers, "connect", fail)
    stage.scheduler.compute(alice, "y", len, TaskRef("x"), locations=(("x", 77, 8, (bob.address,)),))
    rows = await stage.scheduler.until(lambda: stage.scheduler.rows(m.UNFETCHED))
    assert rows["y"][2] == (("x", 77, bob.address),)
    assert f"fetching from worker {bob.address} failed" in caplog.text
    assert "nobody thought of this" in caplog.text


async def test_a_holder_that_has_the_value_no_more_is_named(stage: Stage) -> None:
    alice, bob = await stage.worker(name="alice"), await stage.worker(name="bob")
    scheduler = stage.scheduler
    scheduler.compute(alice, "y", len, TaskRef("x"), locations=(("x", 77, 8, (bob.address,)),))
    rows = await scheduler.until(lambda: scheduler.rows(m.UNFETCHED))
    assert rows["y"][2] == (("x", 77, bob.address),)


async def test_an_input_that_cannot_be_pickled_fails_the_task_that_needs_it_elsewhere(stage: Stage) -> None:
    alice, bob = await stage.worker(name="alice"), await stage.worker(name="bob")
    scheduler = stage.scheduler
    attempt = scheduler.compute(alice, "lock", threading.Lock, flags=0)
    await scheduler.until(lambda: "lock" in scheduler.rows(m.RESULTS))
    scheduler.compute(bob, "y", id, TaskRef("lock"), locations=(("lock", attempt, 8, (alice.address,)),))
    error = await scheduler.error("y")
    assert isinstance(error, SerializationError)
    assert "the result of task 'lock' cannot be pickled" in str(error)
    assert f"held by {alice.address}" in str(error)


class _Unreadable:
    def __reduce__(self) -> Any:
        return (_explode, ())


def _explode() -> None:
    raise RuntimeError("boom")


async def test_an_input_that_cannot_be_unpickled_fails_the_task_that_needs_it(stage: Stage) -> None:
    alice, bob = await stage.worker(name="alice"), await stage.worker(name="bob")
    scheduler = stage.scheduler
    attempt = scheduler.compute(alice, "x", _Unreadable, flags=0)
    await scheduler.until(lambda: "x" in scheduler.rows(m.RESULTS))
    scheduler.compute(bob, "y", id, TaskRef("x"), locations=(("x", attempt, 8, (alice.address,)),))
    assert "the value of 'x' cannot be unpickled on this worker: RuntimeError: boom" in str(await scheduler.error("y"))


async def test_clients_place_and_read_data(stage: Stage) -> None:
    worker = await stage.worker()
    client = await stage.data_client(worker)
    op, request, rows = await client.ask((m.PUT_DATA, 1, (("x", 9, pickling.dumps([1, 2])), ("bad", 9, b"no pickle"))))
    assert (op, request) == (m.STORED, 1)
    assert [(row[0], row[1], row[3]) for row in rows] == [("x", 9, "list")]
    answer = await client.ask((m.GET_DATA, 2, (("x", 0), ("x", 8), ("y", 0))))
    assert answer == (m.DATA, 2, (("x", pickling.dumps([1, 2])),), (("x", NOT_HELD), ("y", NOT_HELD)))
    stage.scheduler.compute(worker, "z", sum, TaskRef("x"))
    assert await stage.scheduler.result("z") == 3


def _start(outflows: Outflows, value: bytes) -> PipedBlob | None:
    payload = pickling.dumps(value)
    assert isinstance(payload, Blob)
    return outflows.start(payload)


async def test_clients_name_large_data_instead_of_sending_it(stage: Stage) -> None:
    worker = await stage.worker()
    client = await stage.data_client(worker)
    outflows = Outflows()
    values = {"x": b"x" * (2 * MIB), "y": b"y" * (3 * MIB)}
    piped = {key: _start(outflows, value) for key, value in values.items()}
    rows = (("x", 7, piped["x"]), ("small", 8, pickling.dumps(5)), ("y", 9, piped["y"]))
    op, request, stored = await client.ask((m.PUT_SHARED, 1, rows, place()))
    assert (op, request) == (m.STORED, 1)
    assert [(row[0], row[1], row[3]) for row in stored] == [("x", 7, "bytes"), ("small", 8, "int"), ("y", 9, "bytes")]
    stage.scheduler.compute(worker, "z", lambda x, y: (x[-1:], y[:1], len(x + y)), TaskRef("x"), TaskRef("y"))
    assert await stage.scheduler.result("z") == (b"x", b"y", 5 * MIB)
    outflows.close()


@pytest.mark.parametrize("where", ["", "elsewhere", None])
async def test_what_cannot_be_read_from_pipes_is_not_stored(stage: Stage, where: str | None) -> None:
    worker = await stage.worker()
    client = await stage.data_client(worker)
    outflows = Outflows()
    piped = _start(outflows, bytes(2 * MIB))
    outflows.close()
    answer = await client.ask((m.PUT_SHARED, 1, (("x", 7, piped),), place() if where is None else where))
    assert answer == (m.STORED, 1, ())
    assert await client.ask((m.GET_DATA, 2, (("x", 0),))) == (m.DATA, 2, (), (("x", NOT_HELD),))


async def test_answers_keep_the_order_of_the_requests(stage: Stage) -> None:
    worker = await stage.worker()
    client = await stage.data_client(worker)
    await client.ask((m.PUT_DATA, 1, (("big", 1, pickling.dumps(bytes(2_000_000))), ("small", 2, pickling.dumps(1)))))
    assert client.link is not None
    client.link.send((m.GET_DATA, 2, (("big", 0),)))
    client.link.send((m.GET_DATA, 3, (("small", 0),)))
    answers = [await asyncio.wait_for(client.answers.get(), TIMEOUT_S) for _ in range(2)]
    assert [answer[1] for answer in answers] == [2, 3]


async def test_what_means_nothing_on_a_data_link_closes_it(stage: Stage) -> None:
    client = await stage.data_client(await stage.worker())
    assert client.link is not None
    client.link.send((m.GOODBYE, "hm"))
    assert await asyncio.wait_for(client.closed, TIMEOUT_S)


async def test_heartbeats_carry_measurements(stage: Stage) -> None:
    worker = await stage.worker()
    beats = await stage.scheduler.until(lambda: [msg for _, msg in stage.scheduler.received if msg[0] == m.HEARTBEAT])
    metrics = beats[0][1]
    assert set(metrics) == {
        *("cpu", "memory", "managed", "executing", "ready", "paused", "time", "bytes_in", "bytes_out", "spilled"),
        *("shared", "mapped", "round_trip"),
    }
    assert metrics["memory"] > 2**20
    assert worker.executing == metrics["executing"] == 0


async def test_tasks_reach_their_worker(stage: Stage) -> None:
    worker = await stage.worker(name="alice")
    stage.scheduler.compute(worker, "x", lambda: (context.get_worker().name, context.get_task_key()))
    assert await stage.scheduler.result("x") == ("alice", "x")


async def test_a_recalled_task_that_has_not_started_comes_back(stage: Stage) -> None:
    worker = await stage.worker()
    scheduler = stage.scheduler
    _gates["entered"], _gates["opened"] = threading.Event(), threading.Event()
    scheduler.compute(worker, "first", _wait_for_the_gate)
    attempt = scheduler.compute(worker, "second", int)
    await asyncio.to_thread(_gates["entered"].wait, TIMEOUT_S)
    scheduler.send(worker, (m.RECALL, (("second", attempt),)))
    assert await scheduler.until(lambda: scheduler.rows(m.RECALLED)) == {"second": ("second", attempt)}
    _gates["opened"].set()
    assert await scheduler.result("first") == "done"


_gates: dict[str, threading.Event] = {}


def _wait_for_the_gate() -> str:
    _gates["entered"].set()
    assert _gates["opened"].wait(TIMEOUT_S)
    return "done"


async def test_freeing_a_coroutine_interrupts_it(stage: Stage) -> None:
    worker = await stage.worker()
    scheduler = stage.scheduler
    attempt = scheduler.compute(worker, "x", _wait_for_ever)
    await scheduler.until(lambda: scheduler.rows(m.SECEDED))
    scheduler.send(worker, (m.FREE, (("x", attempt),)))
    assert await scheduler.until(lambda: scheduler.rows(m.RECALLED)) == {"x": ("x", attempt)}
    assert scheduler.rows(m.ERRORS) == {}


async def _wait_for_ever() -> None:
    await asyncio.Event().wait()


class _Tracked:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    def __init__(self) -> None:
        _Tracked.alive.add(self)


async def test_a_freed_result_is_gone_at_once(stage: Stage) -> None:
    worker = await stage.worker()
    scheduler = stage.scheduler
    attempt = scheduler.compute(worker, "x", _make_tracked, flags=0)
    await scheduler.until(lambda: "x" in scheduler.rows(m.RESULTS))
    scheduler.compute(worker, "y", _count_tracked, TaskRef("x"))
    assert await scheduler.result("y") == 1
    scheduler.send(worker, (m.FREE, (("x", attempt),)))
    scheduler.compute(worker, "z", _count_tracked, None)
    assert await scheduler.result("z") == 0


def _make_tracked() -> Any:
    return _Tracked()


def _count_tracked(_: Any) -> int:
    return len(_Tracked.alive)


# ---- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "expected"), [("close", ExitReason.CLOSED), ("restart", ExitReason.RESTART)])
async def test_the_scheduler_can_end_it(stage: Stage, mode: str, expected: ExitReason) -> None:
    worker = await stage.worker()
    stage.scheduler.send(worker, (m.STOP, mode, "enough"))
    assert await asyncio.wait_for(worker.finished(), TIMEOUT_S) is expected
    assert worker.exit_text == "enough"


async def test_closing_says_goodbye(stage: Stage) -> None:
    worker = await stage.worker()
    await worker.close("tired")
    await worker.close("again")
    assert await worker.finished() is ExitReason.CLOSED
    messages = await stage.scheduler.until(
        lambda: [message for _, message in stage.scheduler.received if message[0] == m.GOODBYE]
    )
    assert messages == [(m.GOODBYE, "tired")]


async def test_callbacks_run_at_close_and_their_failures_are_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await stage.worker()
    called = []

    async def later() -> None:
        called.append("async")

    worker.at_close(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    worker.at_close(lambda: called.append("plain"))
    worker.at_close(later)
    await worker.close()
    assert called == ["plain", "async"]
    assert "a callback for the close of worker" in caplog.text


async def test_the_temporary_directory_goes_with_the_worker(stage: Stage, tmp_path: Any) -> None:
    worker = await stage.worker(local_directory=str(tmp_path))
    directory = worker.local_directory
    assert os.path.isdir(directory)
    assert directory.startswith(str(tmp_path))
    await worker.close()
    assert not os.path.exists(directory)


async def test_a_bug_of_ours_ends_the_worker(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    worker = await stage.worker()
    worker._machine.runs = None  # type: ignore[assignment]
    stage.scheduler.compute(worker, "x", int)
    assert await asyncio.wait_for(worker.finished(), TIMEOUT_S) is ExitReason.FAILED
    assert "TypeError" in worker.exit_text


@pytest.mark.parametrize(
    ("code", "error"), [("version", VersionMismatchError), ("name", UsageError), ("closing", Exception)]
)
async def test_a_refusal_is_raised(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(registration, "NAME_TAKEN_S", 0.0)
    stage.scheduler.refusal = (code, "because")
    worker = Worker(stage.scheduler.address, credentials=stage.scheduler.credentials, nthreads=1)
    with pytest.raises(error, match="because"):
        await worker.start()
    assert await worker.finished() is ExitReason.REFUSED


async def test_a_scheduler_that_does_not_answer_is_given_up(stage: Stage) -> None:
    stage.scheduler.silent = True
    worker = Worker(stage.scheduler.address, credentials=stage.scheduler.credentials, nthreads=1, death_timeout="50ms")
    with pytest.raises(ConnectionFailedError, match="let us in but did not answer within 0.05 s"):
        await worker.start()
    assert await worker.finished() is ExitReason.DEATH_TIMEOUT


async def test_an_absent_scheduler_is_given_up(unused_tcp_port: int) -> None:
    worker = Worker(
        f"tcp://127.0.0.1:{unused_tcp_port}", credentials=Credentials.generate(), nthreads=1, death_timeout=0.05
    )
    with pytest.raises(ConnectionFailedError):
        await worker.start()
    assert await worker.finished() is ExitReason.DEATH_TIMEOUT


async def test_the_wrong_secret_is_refused() -> None:
    async with FakeScheduler("tcp://127.0.0.1:0", Credentials.generate()) as scheduler:
        worker = Worker(scheduler.address, credentials=Credentials.generate(), nthreads=1, death_timeout=5)
        with pytest.raises(AuthenticationError):
            await worker.start()
        assert await worker.finished() is ExitReason.REFUSED


async def test_misuse_is_explained() -> None:
    worker = Worker("inproc://x", nthreads=1)
    with pytest.raises(UsageError, match="has not been started"):
        await worker.finished()
    with pytest.raises(UsageError, match="at least one thread, not 0"):
        Worker("inproc://x", nthreads=0)
    await worker.close()
    assert repr(worker) == "<Worker  not started, 1 threads>"


@pytest.mark.parametrize(("limit", "expected"), [(None, 0), (0, 0), (1000, 1000), ("2 kB", 2000)])
def test_memory_limits(limit: Any, expected: int) -> None:
    assert Worker("inproc://x", nthreads=1, memory_limit=limit).memory_limit == expected


def test_memory_limits_that_depend_on_the_machine() -> None:
    auto = Worker("inproc://x", nthreads=1).memory_limit
    assert 0 < Worker("inproc://x", nthreads=1, memory_limit=0.01).memory_limit < auto
