"""Real threads, real functions: what comes out of the executor."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from myscheduler.base.errors import (
    CancelledError,
    InternalError,
    NotAResultError,
    SerializationError,
    TaskTimeoutError,
    UsageError,
)
from myscheduler.base.refs import TaskRef
from myscheduler.protocol import pickling
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.messages import FLAG_WANTED
from myscheduler.worker.server import context
from myscheduler.worker.server.board import LANES_MAX, Board
from myscheduler.worker.server.calls import Functions
from myscheduler.worker.server.coroutines import Coroutines
from myscheduler.worker.server.executor import Reports
from tests.client.support import eventually_async
from tests.worker.bench import TIMEOUT_S, Bench


async def test_a_call_reports_its_value_size_type_thread_and_time(bench: Bench) -> None:
    attempt = bench.submit(lambda x, y: x + y, 1, 2)
    assert await bench.result(attempt) == 3
    key, _, nbytes, type_name, payload, thread, start, duration = bench.rows()[attempt]
    assert (key, type_name, payload, thread) == ("task-1", "int", None, 0)
    assert nbytes > 0
    assert start > 1e9
    assert 0 <= duration < TIMEOUT_S


async def test_inputs_replace_references(bench: Bench) -> None:
    attempt = bench.submit(sum, [TaskRef("a"), TaskRef("b")], inputs={"a": 1, "b": 2})
    assert await bench.result(attempt) == 3


async def test_a_wanted_small_result_brings_its_payload(bench: Bench) -> None:
    small, large = bench.submit(lambda: "x", flags=FLAG_WANTED), bench.submit(lambda: bytes(10**6), flags=FLAG_WANTED)
    await bench.result(small)
    await bench.result(large)
    assert pickling.loads(bench.rows()[small][4]) == "x"
    assert bench.rows()[large][4] is None


async def test_an_exception_carries_the_users_traceback_only(bench: Bench) -> None:
    def fail() -> None:
        raise ValueError("no")

    attempt = bench.submit(fail)
    error = await bench.error(attempt)
    assert isinstance(error, ValueError)
    text, traceback = bench.rows()[attempt][3:5]
    assert text == "ValueError: no"
    assert "in fail" in traceback
    assert "server/executor.py" not in traceback


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, MemoryError])
async def test_whatever_a_task_raises_is_its_error(bench: Bench, kind: type[BaseException]) -> None:
    def leave() -> None:
        raise kind("bye")

    assert isinstance(await bench.error(bench.submit(leave)), kind)
    assert await bench.result(bench.submit(lambda: 1)) == 1


async def test_a_generator_is_no_result(bench: Bench) -> None:
    error = await bench.error(bench.submit(lambda: (x for x in range(3))))
    assert isinstance(error, NotAResultError)
    assert str(error) == (
        "task 'task-1' returned a generator, which can be neither sent nor read twice: return list(...) of it instead"
    )


async def test_an_async_generator_is_no_result(bench: Bench) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    assert "returned an async generator" in str(await bench.error(bench.submit(lambda: numbers())))


async def test_a_coroutine_from_a_plain_function_is_no_result(bench: Bench) -> None:
    async def later() -> int:
        return 1

    def plain() -> Any:
        return later()

    error = await bench.error(bench.submit(plain))
    assert isinstance(error, NotAResultError)
    assert "task 'task-1' returned a coroutine: define it with `async def`" in str(error)


async def test_a_wanted_result_that_cannot_be_pickled_fails_the_task(bench: Bench) -> None:
    error = await bench.error(bench.submit(threading.Lock, flags=FLAG_WANTED))
    assert isinstance(error, SerializationError)
    assert "the result of task 'task-1', a _thread.lock, cannot be pickled" in str(error)


async def test_an_unwanted_result_that_cannot_be_pickled_stays_usable_here(bench: Bench) -> None:
    lock = await bench.result(bench.submit(threading.Lock))
    assert await bench.result(bench.submit(lambda lock: lock.locked(), TaskRef("lock"), inputs={"lock": lock})) is False


async def test_a_function_that_cannot_be_unpickled_says_for_which_task(bench: Bench) -> None:
    bench.executor.functions.define(((b"bad", b"cno_such_module\nf\n."),))
    bench.executor.submit(("x", 7, b"bad", pickling.dumps_call("f", (), {})[0], 0, (), (), 0), {})
    await bench.until(lambda: 7 in bench.rows())
    text, traceback = bench.rows()[7][3:5]
    assert "No module named 'no_such_module'" in text
    assert "while unpickling the function of task 'x' on this worker" in traceback


async def test_async_functions_are_awaited_outside_of_the_slots(bench: Bench) -> None:
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    attempts = [bench.submit(double, 1), bench.submit(functools.partial(double, 2)), bench.submit(_Doubler(), 3)]
    assert [await bench.result(attempt) for attempt in attempts] == [2, 4, 6]
    assert [move[1:] for move in bench.moves()] == [(attempt, True) for attempt in attempts]
    assert all(bench.rows()[attempt][5] >= 1 for attempt in attempts)


class _Doubler:
    async def __call__(self, x: int) -> int:
        return 2 * x


async def test_a_coroutine_can_be_cancelled_and_a_queued_task_taken_back(bench: Bench) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    waiting = bench.submit(forever)
    await bench.until(lambda: bench.moves())
    gate = _Gate()
    bench.submit(gate.wait)
    queued = bench.submit(lambda: 1)
    await asyncio.to_thread(gate.entered.wait, TIMEOUT_S)
    copies = [("task-1", waiting), ("task-2", 2), ("task-3", queued)]
    assert bench.executor.cancel(copies, running=False) == [("task-3", queued)]
    assert bench.executor.cancel(copies, running=True) == []
    assert type(await bench.error(waiting)) is asyncio.CancelledError
    gate.open()
    await bench.result(2)
    assert queued not in bench.rows()


async def test_a_function_is_told_that_it_should_end(bench: Bench) -> None:
    gate = _Gate()

    def until_cancelled() -> str:
        before = context.cancelled()
        _Gate.entered.set()
        while not context.cancelled():
            _Gate.opened.wait(0.001)
        with pytest.raises(CancelledError, match="nobody waits for task 'task-1' any more"):
            context.check_cancelled()
        return f"{before}, then told"

    running = bench.submit(until_cancelled)
    await asyncio.to_thread(gate.entered.wait, TIMEOUT_S)
    assert bench.executor.cancel([("task-1", running)], running=False) == []
    assert bench.executor.cancel([("task-1", running)], running=True) == []
    assert await bench.result(running) == "False, then told"
    assert await bench.result(bench.submit(context.cancelled)) is False
    assert await bench.result(bench.submit(context.check_cancelled)) is None


async def test_a_coroutine_that_is_cancelled_can_see_it(bench: Bench) -> None:
    async def forever() -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return context.cancelled()
        return False

    waiting = bench.submit(forever)
    await bench.until(bench.moves)
    bench.executor.cancel([("task-1", waiting)], running=True)
    assert await bench.result(waiting) is True


async def test_closing_tells_functions_to_end() -> None:
    bench, gate = Bench(), _Gate()

    def until_cancelled() -> None:
        _Gate.entered.set()
        while not context.cancelled():
            _Gate.opened.wait(0.001)

    bench.submit(until_cancelled)
    await asyncio.to_thread(gate.entered.wait, TIMEOUT_S)
    bench.executor.close()
    assert await bench.executor.join(TIMEOUT_S)


def overdue(bench: Bench) -> Reports | None:
    return next((batch for batch in bench.batches if batch.overdue is not None), None)


async def test_a_function_that_takes_too_long_fails_and_goes_on(bench: Bench) -> None:
    def until_cancelled() -> str:
        while not context.cancelled():
            threading.Event().wait(0.001)
        return "seen"

    bench.executor.bind([("task-1", 1, 0.05, None)])
    bench.submit(until_cancelled)
    report = await bench.until(lambda: overdue(bench))
    assert report.final == [("task-1", 1)]
    error = pickling.loads_exception(*report.overdue[2:5])
    assert type(error) is TaskTimeoutError
    assert str(error) == (
        "task 'task-1' ran longer than its timeout of 50.00 ms on worker worker. A function cannot be stopped, so its "
        "thread stays occupied until it returns; let it call check_cancelled() now and then. If it needs more time, "
        "give it more: timeout=..."
    )
    assert await bench.result(1) == "seen"


async def test_a_coroutine_that_takes_too_long_is_cancelled(bench: Bench) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    bench.executor.bind([("task-1", 1, 0.05, pickling.dumps((TimeoutError,)))])
    bench.submit(forever)
    report = await bench.until(lambda: overdue(bench))
    assert report.final == []  # a timeout was chosen
    assert "cannot be stopped" not in report.overdue[3]
    assert type(await bench.error(1)) is asyncio.CancelledError


async def test_a_coroutine_whose_time_is_over_before_it_begins_is_cancelled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = threading.Event()
    start = Coroutines.start

    def start_late(*args: Any) -> None:
        reported.wait(TIMEOUT_S)
        start(*args)

    async def forever() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Coroutines, "start", start_late)
    bench.executor.bind([("task-1", 1, 0.001, None)])
    bench.submit(forever)
    await bench.until(lambda: overdue(bench))
    reported.set()
    assert type(await bench.error(1)) is asyncio.CancelledError


async def test_a_run_that_ends_in_time_is_not_overdue(bench: Bench) -> None:
    bench.executor.bind([("task-1", 1, 60.0, None), ("task-2", 2, 0.001, None)])
    assert await bench.result(bench.submit(lambda: 1)) == 1
    gate = _Gate()
    bench.submit(gate.wait)
    await bench.until(lambda: overdue(bench))
    gate.open()
    await bench.result(2)
    assert [batch.overdue[1] for batch in bench.batches if batch.overdue is not None] == [2]
    assert bench.executor._terms == {}


async def test_an_error_that_was_not_chosen_is_final(bench: Bench) -> None:
    def fail(kind: type[Exception]) -> None:
        raise kind("no")

    on = pickling.dumps((OSError,))
    bench.executor.bind([("task-1", 1, None, on), ("task-2", 2, None, on), ("task-3", 3, None, on)])
    for kind in (ValueError, ConnectionError, KeyError):
        attempt = bench.submit(fail, kind)
        await bench.error(attempt)
    assert [copy for batch in bench.batches for copy in batch.final] == [("task-1", 1), ("task-3", 3)]


class _Gate:
    """Blocks a task until the test opens it. Pickled by name: the events are those of this module."""

    entered = threading.Event()
    opened = threading.Event()

    def __init__(self) -> None:
        _Gate.entered, _Gate.opened = threading.Event(), threading.Event()

    @staticmethod
    def wait() -> str:
        _Gate.entered.set()
        assert _Gate.opened.wait(TIMEOUT_S)
        return "passed"

    def open(self) -> None:
        _Gate.opened.set()


async def test_a_task_knows_its_key_and_worker(bench: Bench) -> None:
    attempt = bench.submit(lambda: (context.get_task_key(), context.get_worker()))
    assert await bench.result(attempt) == ("task-1", "the worker")


async def test_a_coroutine_knows_its_key(bench: Bench) -> None:
    async def key() -> Any:
        context.secede()
        context.rejoin()
        return context.get_task_key()

    assert await bench.result(bench.submit(key)) == "task-1"


def test_outside_of_a_task_there_is_no_worker() -> None:
    inside = (context.get_worker, context.get_task_key, context.secede, context.rejoin)
    for function in (*inside, context.cancelled, context.check_cancelled):
        with pytest.raises(UsageError, match=rf"{function.__name__}\(\) works only inside a task"):
            function()


async def test_context_variables_do_not_leak_from_task_to_task(bench: Bench) -> None:
    from contextvars import ContextVar

    global _variable
    _variable = ContextVar("variable", default="unset")
    bench.submit(_set_variable)
    assert await bench.result(bench.submit(_get_variable)) == "unset"


_variable: Any = None


def _set_variable() -> None:
    _variable.set("set")


def _get_variable() -> str:
    return _variable.get()


async def test_while_a_task_has_seceded_another_runs_in_its_slot(bench: Bench) -> None:
    gate = _Gate()

    def leave_and_come_back() -> str:
        context.secede()
        context.secede()
        _Gate.wait()
        context.rejoin()
        context.rejoin()
        return threading.current_thread().name

    attempt = bench.submit(leave_and_come_back)
    assert await bench.result(bench.submit(lambda: "other")) == "other"
    assert bench.moves() == [("task-1", attempt, True)]
    gate.open()
    assert await bench.result(attempt)
    assert bench.moves() == [("task-1", attempt, True), ("task-1", attempt, False)]
    assert bench.rows()[attempt][5] == 0
    assert await bench.result(bench.submit(lambda: "again")) == "again"
    await bench.until(lambda: len(bench.executor._threads) == 1)  # the one that stood in ends in its own time
    assert len(bench.executor._threads) == 1


async def test_a_task_that_seceded_and_never_rejoined_leaves_one_thread_per_slot(bench: Bench) -> None:
    attempt = bench.submit(lambda: context.secede())
    await bench.result(attempt)
    assert bench.rows()[attempt][5] == 1
    await bench.result(bench.submit(lambda: None))
    await bench.until(lambda: len(bench.executor._threads) == 1)
    assert len(bench.executor._threads) == 1


async def test_many_tasks_are_reported_in_few_batches() -> None:
    bench = Bench(nthreads=2)
    attempts = [bench.submit(abs, -number) for number in range(2000)]
    await bench.until(lambda: len(bench.rows()) == len(attempts))
    assert [bench.results()[attempt] for attempt in attempts] == list(range(2000))
    assert len(bench.batches) < 1000
    bench.executor.close()
    assert await bench.executor.join(TIMEOUT_S)


class _Tracked:
    """Something large that can be referred to weakly."""

    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    def __init__(self) -> None:
        self.data = bytes(1000)
        _Tracked.alive.add(self)


@pytest.mark.parametrize("fails", [False, True])
async def test_nothing_keeps_inputs_and_results_alive(bench: Bench, fails: bool) -> None:
    def use(value: _Tracked) -> _Tracked:
        local = value
        if fails:
            try:
                raise ValueError("no")
            except ValueError as error:
                kept = error  # a cycle through the traceback
                raise kept from None
        assert local
        return _Tracked()

    _Tracked.alive.clear()
    gc.collect()
    gc.disable()
    try:
        attempt = bench.submit(use, TaskRef("x"), inputs={"x": _Tracked()})
        await bench.until(lambda: attempt in bench.rows())
        # The thread reports before it lets go of its last reference, a moment later.
        await eventually_async(lambda: len(_Tracked.alive) == (0 if fails else 1))
        bench.batches.clear()
        await eventually_async(lambda: not _Tracked.alive)
        assert len(_Tracked.alive) == 0
    finally:
        gc.enable()


async def test_cancelling_frees_the_inputs_of_queued_tasks(bench: Bench) -> None:
    gate = _Gate()
    bench.submit(gate.wait)
    value = _Tracked()
    seen = weakref.ref(value)
    queued = bench.submit(id, TaskRef("x"), inputs={"x": value})
    del value
    assert bench.executor.cancel([("task-2", queued)], running=False) == [("task-2", queued)]
    assert seen() is None
    gate.open()
    await bench.result(1)


async def test_large_payloads_are_blobs_on_the_wire_and_arrays_in_tasks(bench: Bench) -> None:
    payload, _ = pickling.dumps_call("f", (b"x" * 10**6,), {})
    assert isinstance(payload, Blob)
    assert await bench.result(bench.submit(len, b"x" * 10**6)) == 10**6


async def test_closing_ends_waiting_tasks_and_threads(no_thread_outlives_the_test: None) -> None:
    bench = Bench()

    async def forever() -> None:
        await asyncio.Event().wait()

    bench.submit(forever)
    await bench.until(lambda: bench.moves())
    bench.executor.close()
    assert await bench.executor.join(TIMEOUT_S)


def test_undefined_functions_are_forgotten() -> None:
    functions = Functions()
    func_id, payload = pickling.dumps_function(len)
    functions.define(((func_id, payload),))
    assert functions.load("x", func_id)[0] is len
    functions.undefine((func_id, b"unknown"))
    with pytest.raises(InternalError, match="without its function"):
        functions.load("x", func_id)


def noted() -> tuple[int, ...]:
    """What runs, as seen from inside a task."""
    run = context.current_run.get()
    assert run is not None
    return run.executor._board.running


async def test_what_runs_is_noted_wherever_it_runs(bench: Bench) -> None:
    gate = _Gate()

    async def wait_for_ever() -> None:
        _Gate.entered.set()
        await asyncio.Event().wait()

    waiting = bench.submit(wait_for_ever)
    await asyncio.to_thread(gate.entered.wait, TIMEOUT_S)
    gate = _Gate()

    def leave_and_come_back() -> list[tuple[int, ...]]:
        seen = [noted()]
        context.secede()
        seen.append(noted())
        _Gate.entered.set()
        _Gate.opened.wait(TIMEOUT_S)
        context.rejoin()
        return [*seen, noted()]

    moving = bench.submit(leave_and_come_back)
    await asyncio.to_thread(gate.entered.wait, TIMEOUT_S)
    beside = bench.submit(noted)
    assert set(await bench.result(beside)) == {beside, waiting, moving}
    gate.open()
    seen = await bench.result(moving)
    assert [set(running) for running in seen] == [{waiting, moving}] * 3
    assert bench.executor.cancel([("task-1", waiting)], running=True) == []
    await eventually_async(lambda: bench.board.running == (), timeout=TIMEOUT_S)


async def test_more_threads_than_can_be_noted_run_as_well() -> None:
    board = Board.private()
    assert len(board.pool(LANES_MAX)) == LANES_MAX
    board.note(3, 7)
    assert board.running == (7,)
    assert len(board.pool(LANES_MAX + 1)) == LANES_MAX + 1
    assert board.running == ()  # nobody knows
    board.clear()
    board.note(LANES_MAX - 1, 8)
    assert board.running == (8,)
    board.note(LANES_MAX, 9)
    assert board.running == ()
