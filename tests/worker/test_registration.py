"""Workers that lose their scheduler: they go on, come back under the same incarnation, or end where trying is of no use."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from myscheduler import Client, LocalCluster, get_worker
from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import UsageError
from myscheduler.protocol import messages as m
from myscheduler.worker.exits import ExitReason
from myscheduler.worker.server.worker import Worker
from tests.client.support import eventually
from tests.worker.fake_scheduler import EPOCH, TIMEOUT_S, DataClient, FakeScheduler


@pytest.fixture(params=["inproc://", "tcp://127.0.0.1:0"])
async def scheduler(request: pytest.FixtureRequest) -> AsyncIterator[FakeScheduler]:
    credentials = Credentials.generate() if request.param.startswith("tcp") else None
    async with FakeScheduler(request.param, credentials) as made:
        yield made


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


async def registered(scheduler: FakeScheduler, stack: AsyncExitStack, **options: Any) -> Worker:
    worker = Worker(
        scheduler.address, credentials=scheduler.credentials, nthreads=1, memory_limit=None, **{"lease": 60, **options}
    )
    return await stack.enter_async_context(worker)


def inventories(scheduler: FakeScheduler) -> list[Any]:
    return [message for _, message in scheduler.received if message[0] == m.INVENTORY]


_ENTERED, _GATE = threading.Event(), threading.Event()


def _pass_the_gate() -> str:
    _ENTERED.set()
    assert _GATE.wait(TIMEOUT_S)
    return "passed"


async def test_it_comes_back_with_what_it_holds_and_reports_what_it_has_done_meanwhile(
    scheduler: FakeScheduler, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await registered(scheduler, stack)
    done = scheduler.compute(worker, "done", os.getpid)
    await scheduler.result("done")
    _ENTERED.clear()
    _GATE.clear()
    running = scheduler.compute(worker, "running", _pass_the_gate)
    assert await asyncio.to_thread(_ENTERED.wait, TIMEOUT_S)
    noticed = worker.on_disconnected

    def on_disconnected(reason: str) -> None:
        noticed(reason)
        _GATE.set()

    monkeypatch.setattr(worker, "on_disconnected", on_disconnected)
    scheduler.links[worker.incarnation].abort("cut")
    [inventory] = await scheduler.until(lambda: inventories(scheduler))
    assert scheduler.hellos[worker.incarnation]["resume"] == (EPOCH, 0)
    assert [row[:2] for row in inventory[1]] == [("done", done)]
    assert [row[:2] for row in inventory[2]] == [("running", running)]
    assert await scheduler.result("running") == "passed"
    scheduler.compute(worker, "next", os.getpid)
    assert await scheduler.result("next") == os.getpid()


async def test_its_data_can_be_had_while_it_looks_for_the_scheduler_and_it_closes_at_once(
    scheduler: FakeScheduler, stack: AsyncExitStack
) -> None:
    worker = await registered(scheduler, stack)
    scheduler.compute(worker, "x", abs, -1)
    await scheduler.result("x")
    scheduler.refuse_connections()
    scheduler.links[worker.incarnation].close("gone")
    client = await DataClient.open(worker.address, scheduler.credentials)
    [(key, _)] = (await client.ask((m.GET_DATA, 1, (("x", 0),))))[2]
    assert key == "x"
    await client.close()
    async with asyncio.timeout(TIMEOUT_S):
        await worker.close()
        assert await worker.finished() is ExitReason.CLOSED


async def test_without_a_scheduler_it_ends_with_its_lease(scheduler: FakeScheduler, stack: AsyncExitStack) -> None:
    worker = await registered(scheduler, stack, lease="50 ms")
    scheduler.refuse_connections()
    scheduler.links[worker.incarnation].close("gone")
    assert await asyncio.wait_for(worker.finished(), TIMEOUT_S) is ExitReason.LOST_SCHEDULER
    assert worker.exit_text.startswith(
        f"the scheduler at {scheduler.address} was lost and not found again within 0.05 s: "
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("session", ExitReason.RESTART),
        ("restart", ExitReason.RESTART),
        ("closing", ExitReason.CLOSED),
        ("name", ExitReason.REFUSED),
    ],
)
async def test_a_scheduler_that_does_not_take_it_again_ends_it(
    scheduler: FakeScheduler,
    stack: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    expected: ExitReason,
) -> None:
    monkeypatch.setattr("myscheduler.worker.server.registration.NAME_TAKEN_S", 0.0)
    worker = await registered(scheduler, stack)
    scheduler.refusal = (code, "because")
    scheduler.links[worker.incarnation].abort("cut")
    assert await asyncio.wait_for(worker.finished(), TIMEOUT_S) is expected
    assert worker.exit_text == "because"


async def test_a_bug_of_ours_on_the_way_back_ends_it_instead_of_leaving_it_alone(
    scheduler: FakeScheduler, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await registered(scheduler, stack)

    async def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr("myscheduler.worker.server.registration.connect", fail)
    scheduler.links[worker.incarnation].abort("cut")
    assert await asyncio.wait_for(worker.finished(), TIMEOUT_S) is ExitReason.FAILED
    assert worker.exit_text == "ValueError: nobody thought of this"
    assert f"looking for the scheduler at {scheduler.address} failed" in caplog.text


async def test_a_name_that_is_taken_is_asked_for_again_at_the_start(
    scheduler: FakeScheduler,
    stack: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("myscheduler.worker.server.registration.NAME_PAUSE_S", 0.01)
    scheduler.refusal = ("name", "a worker named 'alice' is connected already")
    starting = asyncio.create_task(registered(scheduler, stack, name="alice"))
    await scheduler.until(lambda: len(scheduler.closed) >= 3)
    scheduler.refusal = None
    worker = await asyncio.wait_for(starting, TIMEOUT_S)
    scheduler.compute(worker, "x", abs, -1)
    assert await scheduler.result("x") == 1
    [warning] = [record.getMessage() for record in caplog.records if "asking again" in record.getMessage()]
    assert warning == (
        "a worker named 'alice' is connected already; asking again for 15 s, in case that one is about to be given up"
    )


async def test_a_name_that_is_taken_is_asked_for_again_on_return(
    scheduler: FakeScheduler, stack: AsyncExitStack
) -> None:
    worker = await registered(scheduler, stack)
    scheduler.refusal = ("name", "because")
    scheduler.links[worker.incarnation].abort("cut")
    await scheduler.until(lambda: len(scheduler.closed) >= 3)  # the first, and two that were refused
    scheduler.refusal = None
    assert len(await scheduler.until(lambda: inventories(scheduler))) == 1


async def test_a_name_that_stays_taken_is_an_error(
    scheduler: FakeScheduler, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myscheduler.worker.server.registration.NAME_TAKEN_S", 0.0)
    scheduler.refusal = ("name", "a worker named 'alice' is connected already")
    with pytest.raises(UsageError, match="a worker named 'alice' is connected already"):
        await registered(scheduler, stack, name="alice")


async def test_a_scheduler_that_does_not_answer_is_dialled_again(
    scheduler: FakeScheduler, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myscheduler.worker.server.registration.ANSWER_TIMEOUT_S", 0.05)
    worker = await registered(scheduler, stack)
    scheduler.silent = True
    scheduler.links[worker.incarnation].abort("cut")
    await scheduler.until(lambda: len(scheduler.closed) >= 3)  # the first, and two that were given up
    scheduler.silent = False
    await scheduler.until(lambda: inventories(scheduler))
    scheduler.compute(worker, "x", abs, -1)
    assert await scheduler.result("x") == 1


async def test_a_scheduler_whose_machine_does_not_answer_is_dialled_again(
    scheduler: FakeScheduler, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler.heartbeat_s = 0.01
    worker = await registered(scheduler, stack)
    link = worker._scheduler.link
    assert link is not None
    monkeypatch.setattr(link, "machine_silence", lambda: 9.9, raising=False)
    await scheduler.until(lambda: any(message[0] == m.HEARTBEAT for _, message in scheduler.received))
    assert inventories(scheduler) == []
    monkeypatch.setattr(link, "machine_silence", lambda: 10.0)
    await scheduler.until(lambda: inventories(scheduler))
    assert worker._scheduler.link is not link


async def test_a_scheduler_that_says_goodbye_is_not_looked_for(scheduler: FakeScheduler, stack: AsyncExitStack) -> None:
    worker = await registered(scheduler, stack)
    scheduler.send(worker, (m.GOODBYE, "the end"))
    scheduler.links[worker.incarnation].close("the end")
    assert await asyncio.wait_for(worker.finished(), TIMEOUT_S) is ExitReason.CLOSED


# ---- with a real scheduler ------------------------------------------------------------------------------------------


def _count(path: str) -> int:
    with open(path, "a") as file:
        file.write("x")
    return os.getpid()


def _cut_off(seconds: float) -> int:
    """Break the connection of the worker that runs this with its scheduler, and go on for a while."""
    worker: Any = get_worker()
    worker._loop.call_soon_threadsafe(worker._scheduler.link.abort, "cut")
    threading.Event().wait(seconds)
    return os.getpid()


@pytest.mark.parametrize("processes", [True, False])
def test_nothing_is_lost_and_nothing_runs_twice(processes: bool, tmp_path: Any) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=processes, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        before = sorted(client.scheduler_info()["workers"])
        files = [str(tmp_path / f"run-{i}") for i in range(20)]
        values = client.map(_count, files)
        pids = client.gather(values)
        for seconds in (0.0, 0.3):
            cuts = [client.submit(_cut_off, seconds, workers=[address], pure=False) for address in before]
            assert set(client.gather(cuts)) == set(pids)
            eventually(lambda: all(w["status"] == "running" for w in client.scheduler_info()["workers"].values()))
        assert sorted(client.scheduler_info()["workers"]) == before
        assert client.gather(values) == pids
        assert client.submit(sum, values).result(timeout=10) == sum(pids)
        assert [os.path.getsize(file) for file in files] == [1] * len(files)
