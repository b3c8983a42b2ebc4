"""The daemon with real workers: processes that are stopped and go on, tasks that fail, take too long, or are cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from myscheduler import (
    CancelledError,
    Client,
    ClusterError,
    Retry,
    TaskTimeoutError,
    annotate,
    cancelled,
    check_cancelled,
    delayed,
    get_worker,
)
from myscheduler.base.credentials import Credentials
from myscheduler.deploy.control import ControlLink
from myscheduler.protocol import messages as m
from myscheduler.scheduler.events import PeerJoined, Received
from myscheduler.scheduler.queries import METHODS
from myscheduler.scheduler.server.scheduler import SchedulerServer, versions
from myscheduler.transport import Link
from myscheduler.transport.attentive import AttentiveSelector
from tests.client.support import eventually
from tests.support.scheduler import FUNCTION, PLAIN


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of a cluster inside this process, with one worker of one thread."""
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        yield client


class FlakyError(Exception):
    """Goes away when one tries again."""


def fail_at_first(times: int, path: Path, kind: type[Exception]) -> int:
    """Raise in the first ``times`` runs; then return the number of the run. The file counts."""
    with path.open("a") as file:
        file.write("x")
    runs = path.stat().st_size
    if runs <= times:
        raise kind(f"run {runs}")
    return runs


# ---- retries --------------------------------------------------------------------------------------------------------


def test_chosen_errors_are_tried_again_and_others_are_not(client: Client, tmp_path: Path) -> None:
    retry = Retry(3, on=(FlakyError, OSError), delay="10 ms", backoff=1.5)
    assert client.submit(fail_at_first, 2, tmp_path / "a", FlakyError, retries=retry).result(timeout=10) == 3
    (broken,) = client.map(fail_at_first, [2], [tmp_path / "b"], [ValueError], retries=retry)
    with pytest.raises(ValueError, match="run 1"):
        broken.result(timeout=10)


def test_delayed_calls_can_be_annotated(client: Client, tmp_path: Path) -> None:
    with annotate(retries=Retry(2, on=FlakyError)):
        value = delayed(fail_at_first)(2, tmp_path / "a", FlakyError)
    assert client.compute(value, sync=True) == 3


def test_explain_tells_of_the_wait(client: Client, tmp_path: Path) -> None:
    future = client.submit(fail_at_first, 1, tmp_path / "a", FlakyError, retries=Retry(1, delay="1 h"), key="patient")
    eventually(lambda: "its next try, retry 1 of 1, is in 3" in client.explain(future))
    assert client.explain(future).endswith("FlakyError: run 1")
    future.cancel()


# ---- timeouts -------------------------------------------------------------------------------------------------------


def test_a_function_that_takes_too_long_fails_and_its_slot_is_free_when_it_ends(client: Client) -> None:
    def work() -> None:
        while not cancelled():
            threading.Event().wait(0.005)

    slow = client.submit(work, timeout="50 ms", key="slow")
    with pytest.raises(TaskTimeoutError, match=r"task 'slow' ran longer than its timeout of 50.00 ms on worker"):
        slow.result(timeout=10)
    assert client.submit(abs, -1, timeout=60).result(timeout=10) == 1


def test_a_coroutine_that_takes_too_long_is_stopped_and_may_be_tried_again(client: Client) -> None:
    async def work() -> int:
        worker = get_worker()
        worker.runs = getattr(worker, "runs", 0) + 1  # type: ignore[attr-defined]
        if worker.runs == 1:  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        return int(worker.runs)  # type: ignore[attr-defined]

    assert client.submit(work, timeout=0.1, retries=Retry(1, on=TimeoutError)).result(timeout=10) == 2


# ---- cancelling -----------------------------------------------------------------------------------------------------


def test_a_cancelled_function_can_end_itself(client: Client) -> None:
    entered = threading.Event()

    def work() -> None:
        entered.set()
        while True:
            check_cancelled()
            threading.Event().wait(0.005)

    _HERE[id(work)] = work
    future = client.submit(_call_here, id(work), key="endless")
    assert entered.wait(10)
    future.cancel()
    with pytest.raises(CancelledError):
        future.result(timeout=10)
    assert client.submit(abs, -1).result(timeout=10) == 1  # the slot is free again


_HERE: dict[int, object] = {}


def _call_here(number: int) -> None:
    """Functions of tests, unpickled as they are: the worker is in this process."""
    work = _HERE[number]
    assert callable(work)
    work()


# ---- silence --------------------------------------------------------------------------------------------------------


def test_a_frozen_worker_gets_no_work_and_is_used_again_when_it_goes_on() -> None:
    with Client(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as client:
        address, frozen = next(iter(client.scheduler_info()["workers"].items()))

        def status() -> str:
            return str(client.scheduler_info()["workers"][address]["status"])

        os.kill(frozen["pid"], signal.SIGSTOP)
        try:
            eventually(lambda: status() == "unresponsive", timeout=6.0)
            assert client.gather(client.map(abs, range(-100, 0))) == list(range(100, 0, -1))
        finally:
            os.kill(frozen["pid"], signal.SIGCONT)
        eventually(lambda: status() == "running")
        assert client.submit(os.getpid, workers=[frozen["name"]]).result(timeout=5) == frozen["pid"]


async def test_a_client_whose_machine_does_not_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SchedulerServer(Credentials.generate(), inproc="silent", tcp=False)
    await server.start()
    controls = [await ControlLink.open(server.address, None) for _ in range(2)]
    silent, other = server._links.values()
    monkeypatch.setattr(silent, "machine_silence", lambda: 10.0, raising=False)
    server._note_arrivals(asyncio.get_running_loop().time())
    async with asyncio.timeout(20):
        while silent.peer in server.machine.core.clients:
            await asyncio.sleep(0)
    assert list(server._links.values()) == [other]
    assert (await controls[1].call("scheduler_info"))["clients"] == 1
    for control in controls:
        control.close("done")
    await server.close("done")


# ---- turns -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def lone() -> AsyncIterator[tuple[SchedulerServer, Link]]:
    """A scheduler that has had one frame after the other from its only client, and that client's link."""
    server = SchedulerServer(Credentials.generate(), inproc="lone", tcp=False)
    await server.start()
    control = await ControlLink.open(server.address, None)
    await control.call("scheduler_info")
    (link,) = server._links.values()
    server._alone = True
    link.last_read = server._turned + 1.0
    yield server, link
    control.close("done")
    await server.close("done")


async def test_a_frame_that_comes_alone_has_its_turn_at_once(lone: tuple[SchedulerServer, Link]) -> None:
    server, link = lone
    call = Received(link.peer, ((m.CALL, 77, "no such method", ()),))
    server.receive(link, call)
    assert not server._inbox
    assert server._alone
    assert link.pending, "the answer is on its way"


async def test_it_waits_awake_where_one_task_follows_the_other(lone: tuple[SchedulerServer, Link]) -> None:
    server, link = lone
    server._attentive = selector = AttentiveSelector()
    hello = {"versions": versions(), "name": "w", "address": "tcp://w", "host": "h", "pid": 1, "nthreads": 1}
    joined = PeerJoined("w", m.Role.WORKER, {**hello, "memory_limit": 0, "resources": {}})
    server.machine.handle(asyncio.get_running_loop().time(), [joined])

    def say(peer: str, message: Any) -> bool:
        """Whether it is attentive after this."""
        selector.until = 0.0
        link.last_read = server._turned + 1.0
        server.receive(link, Received(peer, (message,)))
        return selector.until > 0

    def submit(request: int, *keys: str) -> Any:
        rows = tuple((key, FUNCTION, b"", (), 0, 0) for key in keys)
        return (m.SUBMIT, request, ((FUNCTION, b"code"),), (PLAIN,), rows, None, False)

    assert say(link.peer, submit(1, "x"))
    assert not say("w", (m.HEARTBEAT, {})), "nothing has begun or ended"
    attempt = server.machine.core.tasks["x"].attempt
    assert say("w", (m.RESULTS, (("x", attempt, 8, "int", b"1", 0, 0.0, 0.001),)))
    assert not say(link.peer, submit(2, "y", "z", "u")), "there is more to do"
    selector.close()


async def test_frames_that_come_together_share_a_turn(lone: tuple[SchedulerServer, Link]) -> None:
    server, link = lone
    call = Received(link.peer, ((m.CALL, 77, "no such method", ()),))
    link.last_read = server._turned
    server.receive(link, call)
    server.receive(link, call)
    assert server._inbox == [call, call]
    async with asyncio.timeout(5):
        while server._inbox:
            await asyncio.sleep(0)
    link.last_read = server._turned + 1.0
    server.receive(link, call)
    assert server._inbox == [call], "more may come together again"


async def test_a_turn_that_fails_is_not_held_against_whoever_spoke(
    lone: tuple[SchedulerServer, Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, link = lone
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    monkeypatch.setattr(server.machine, "handle", lambda now, events: 1 // 0)
    server.receive(link, Received(link.peer, ((m.CALL, 77, "no such method", ()),)))
    assert [type(problem["exception"]) for problem in problems] == [ZeroDivisionError]
    assert not link.closed


async def test_a_timer_that_is_early_is_set_again(
    lone: tuple[SchedulerServer, Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = lone
    due = asyncio.get_running_loop().time() + 60.0
    monkeypatch.setattr(server.machine, "next_deadline", lambda: due)
    monkeypatch.setattr(server.machine, "handle", lambda now, events: pytest.fail("nothing is due"))
    server._on_timer()
    assert server._timer is not None
    assert server._timer.when() == due
    server._timer.cancel()


# ---- messages of the past -------------------------------------------------------------------------------------------


async def test_frames_of_an_earlier_start_change_nothing_and_are_counted() -> None:
    server = SchedulerServer(Credentials.generate(), inproc="past", tcp=False)
    await server.start()
    control, past = [await ControlLink.open(server.address, None) for _ in range(2)]
    link = past._link
    assert link is not None
    link.epoch -= 1
    link.send((m.CALL, 1, "shutdown", ()))
    link.close("that was all")
    async with asyncio.timeout(20):
        while not (stale := (await control.call("scheduler_info"))["stale"])["frames"]:
            await asyncio.sleep(0)
    assert stale == {"answers": 0, "strangers": 0, "frames": 1}
    control.close("done")
    await server.close("done")
    assert await server.finished() == "done"


# ---- messages that cannot be sent -----------------------------------------------------------------------------------


async def test_an_answer_that_cannot_be_sent_harms_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "nthreads", (lambda machine, peer, request: 2**70, (m.Role.CLIENT,)))
    credentials = Credentials.generate()
    server = SchedulerServer(credentials, port=0)
    await server.start()
    links = [await ControlLink.open(server.address, credentials) for _ in range(2)]
    calls = [link.call(method) for method in ("scheduler_info", "nthreads", "scheduler_info") for link in links]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, dict) for answer in answers] == [True, True, False, False, True, True]
    for answer in answers[2:4]:
        assert isinstance(answer, ClusterError)
        assert str(answer).startswith("the answer cannot be sent: a REPLY message cannot be encoded")
    for control in links:
        control.close("done")
        assert control._link is not None
        await control._link.wait_closed()
    await server.close("done")
