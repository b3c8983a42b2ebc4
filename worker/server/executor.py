"""The threads that run tasks.

They take rows of COMPUTE from one queue and put what happened into deques; the event loop is woken once for everything
that piled up until it comes round. Coroutines run on an event loop in a thread of its own (``coroutines.py``).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from heapq import heappop, heappush
from queue import SimpleQueue
from typing import Any, Final

from ...base.errors import TaskTimeoutError
from ...base.keys import Key
from ...base.units import format_seconds
from ...protocol import pickling
from ...protocol.messages import Row
from ...transport.wakeup import Wakeup
from ..events import Copy
from .board import Board
from .calls import Functions, describe_result
from .context import Run, Slot, current_run
from .coroutines import Coroutines
from .limits import Limited, Limits, Terms, is_worth_retrying

_clock: Final = time.perf_counter


@dataclass(slots=True)
class Reports:
    """What happened since the loop looked last.

    ``results`` are rows of RESULTS with their ``values`` beside them, ``errors`` rows of ERRORS, ``moves`` rows (key,
    attempt, left) of runs that left or took back their slot; a run's moves come before its end. ``final`` are runs (key,
    attempt) whose error is not worth another try; they come no later than the error. ``overdue`` is a row of OVERDUE.
    ``unstarted`` are runs that were to begin with the result of one that has none.
    """

    results: list[Row]
    values: list[Any]
    errors: list[Row]
    moves: list[tuple[Key, int, bool]]
    final: list[Copy]
    overdue: Row | None = None
    unstarted: Sequence[Copy] = ()


class _Rejoin:
    """Stands in the queue for a seceded thread that wants a slot back: the thread that meets it gives it its own."""

    __slots__ = ("given", "index")

    def __init__(self) -> None:
        self.given = threading.Event()
        self.index = -1


class _Links:
    """Stands in the queue for rows that one thread runs one after the other, each with the result of the one before."""

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = deque(rows)


#: What a run returns that has failed, or is not over yet.
_NOTHING: Final = object()
_LATER: Final = object()


class Executor:
    """Runs tasks in threads.

    Parameters
    ----------
    nthreads : int
        Thread slots.
    on_reports : callable
        Called on the event loop with ``Reports``, once for everything that piled up.
    owner : object
        What ``get_worker()`` returns inside tasks.
    name : str
        Start of the names of the threads.
    board : Board, optional
        Where the threads note what they run.

    Notes
    -----
    To be made on the running event loop. All methods but ``secede`` and ``rejoin`` are for its thread.
    """

    def __init__(
        self,
        nthreads: int,
        on_reports: Callable[[Reports], None],
        owner: object = None,
        name: str = "worker",
        board: Board | None = None,
    ) -> None:
        self.owner = owner
        self.functions = Functions()
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._on_reports = on_reports
        self._name = name
        self._nthreads = nthreads
        self._queue: SimpleQueue[Row | _Links | _Rejoin | None] = SimpleQueue()
        #: inputs of rows in the queue, by attempt; who takes them out decides whether the row runs
        self._pending: dict[int, dict[Key, Any]] = {}
        #: what goes on when a coroutine has ended, by its attempt
        self._after: dict[int, _Links] = {}
        self._ended: deque[tuple[Row, Any]] = deque()
        self._errors: deque[Row] = deque()
        self._moves: deque[tuple[Key, int, bool]] = deque()
        self._final: deque[Copy] = deque()
        self._unstarted: deque[Copy] = deque()
        #: of runs that are here and have any, by attempt
        self._terms: dict[int, Terms] = {}
        self._limits = Limits(self._loop, self._report_overdue)
        self._board = board or Board.private()
        self._runs = self._board.pool(nthreads)
        self._wakeup = Wakeup(self._loop, self._collect)
        self._lanes = _Lanes(nthreads)
        self._rejoining: dict[_Rejoin, None] = {}
        self._threads: dict[threading.Thread, Slot] = {}
        self._threads_lock = threading.Lock()
        self._coroutines: Coroutines | None = None
        self.synchronise_clock()
        for index in range(nthreads):
            self._start_thread(index)

    # ---- for the loop -----------------------------------------------------------------------------------------------

    def bind(self, rows: Sequence[Row]) -> None:
        """Learn the terms of runs that are about to be submitted: rows of TERMS."""
        for _, attempt, timeout, on in rows:
            self._terms[attempt] = Terms(timeout, on)

    def submit(self, row: Row, inputs: dict[Key, Any]) -> None:
        """Queue a row of COMPUTE with the values of its inputs."""
        self._pending[row[1]] = inputs
        self._queue.put(row)

    def submit_chain(self, rows: Sequence[Row], inputs: Sequence[dict[Key, Any]]) -> None:
        """Queue rows of which each needs the result of the one before; ``inputs`` are all others, for each."""
        for row, values in zip(rows, inputs, strict=True):
            self._pending[row[1]] = values
        self._queue.put(_Links(rows))

    def cancel(self, copies: Sequence[Copy], running: bool) -> list[Copy]:
        """Take runs out of the queue; with ``running``, also interrupt coroutines, and tell functions that they should end.

        Returns
        -------
        list of (key, attempt)
            Those that had not started; nothing more will be heard of them.
        """
        caught = [copy for copy in copies if self._pending.pop(copy[1], None) is not None]
        if self._terms:
            for _, attempt in caught:
                self._terms.pop(attempt, None)
        if running:
            for _, attempt in copies:
                self._interrupt(attempt)
        return caught

    def _interrupt(self, attempt: int) -> None:
        with self._threads_lock:
            for slot in self._threads.values():
                if slot.attempt == attempt:
                    slot.cancelled = attempt
        if self._coroutines is not None:
            self._coroutines.cancel(attempt)

    def synchronise_clock(self) -> None:
        """Follow the system's clock where it was set; call now and then."""
        self._wall = time.time() - _clock()

    def close(self) -> None:
        """Take no more work. Threads end with the tasks they run; coroutines are cancelled."""
        self.closed = True
        self._pending.clear()
        self._wakeup.close()
        self._limits.close()
        with self._threads_lock:
            for slot in self._threads.values():
                slot.cancelled = slot.attempt
        for token in list(self._rejoining):
            token.given.set()
        for _ in range(self._nthreads):
            self._queue.put(None)
        if self._coroutines is not None:
            self._coroutines.close()

    async def join(self, timeout: float) -> bool:
        """Wait until all threads have ended, after ``close``; False if some still run a task after ``timeout`` seconds."""
        deadline = self._loop.time() + timeout
        with self._threads_lock:
            threads = list(self._threads)
        if self._coroutines is not None:
            threads.append(self._coroutines.thread)
        while any(thread.is_alive() for thread in threads):
            if self._loop.time() >= deadline:
                return False
            await asyncio.sleep(0.005)
        return True

    def _collect(self) -> None:
        """Hand everything that piled up to the loop's side."""
        ended, errors, moves = self._ended, self._errors, self._moves
        # The moves of a run are put down before its end, so they are read after it.
        pairs = [ended.popleft() for _ in range(len(ended))]
        failed = [errors.popleft() for _ in range(len(errors))]
        moved = [moves.popleft() for _ in range(len(moves))]
        final = [self._final.popleft() for _ in range(len(self._final))]
        unstarted = [self._unstarted.popleft() for _ in range(len(self._unstarted))]
        if not self.closed and (pairs or failed or moved or final or unstarted):
            results, values = [row for row, _ in pairs], [value for _, value in pairs]
            reports = Reports(results, values, failed, moved, final, unstarted=unstarted)
            del values
            del pairs
            self._on_reports(reports)

    def _report_overdue(self, run: Limited) -> None:
        """The time of a run is over: it has failed, although it goes on."""
        terms = self._terms.get(run.attempt)
        if terms is None or self.closed:
            return  # it has just ended
        error = TaskTimeoutError(self._describe_overdue(run))
        final = [] if is_worth_retrying(error, terms.on) else [(run.key, run.attempt)]
        row = self._error_row(run.key, run.attempt, error, run.lane, run.start)
        self._interrupt(run.attempt)
        self._on_reports(Reports([], [], [], [], final, row))

    def _describe_overdue(self, run: Limited) -> str:
        worker = getattr(self.owner, "name", self._name)
        text = f"task {run.key!r} ran longer than its timeout of {format_seconds(run.timeout)} on worker {worker}. "
        if run.threaded:
            text += (
                "A function cannot be stopped, so its thread stays occupied until it returns; let it call "
                "check_cancelled() now and then. "
            )
        return text + "If it needs more time, give it more: timeout=..."

    # ---- for the threads --------------------------------------------------------------------------------------------

    def _start_thread(self, index: int) -> None:
        slot = Slot(index)
        thread = threading.Thread(target=self._work, args=(slot,), name=f"{self._name}-{index}", daemon=True)
        with self._threads_lock:
            self._threads[thread] = slot
        thread.start()

    def _work(self, slot: Slot) -> None:
        get, runs = self._queue.get, self._runs
        while True:
            item = get()
            if isinstance(item, (tuple, _Links)):
                if isinstance(item, tuple):
                    self._take(item, slot)
                else:
                    self._run_links(item, slot)
                del item
                if slot.left:
                    self.release_lane(slot.index)
                    break
                runs[slot.index] = 0
            elif item is None:
                break
            else:
                item.index = slot.index
                item.given.set()
                break
        with self._threads_lock:
            del self._threads[threading.current_thread()]

    def _take(self, row: Row, slot: Slot, links: _Links | None = None) -> Any:
        """Run a row, if nobody has taken it out of the queue."""
        slot.attempt = row[1]  # before it is taken out, so that whoever comes too late for that finds it here
        inputs = self._pending.pop(row[1], None)
        if inputs is None:
            return _NOTHING
        self._runs[slot.index] = slot.attempt
        return self._run(row, inputs, slot, links)

    def _run(self, row: Row, inputs: Mapping[Key, Any], slot: Slot, links: _Links | None = None) -> Any:
        key, attempt, func_id = row[0], row[1], row[2]
        start = _clock()
        run = Run(self, key, attempt, slot)
        terms = self._terms.get(attempt) if self._terms else None
        try:
            function, to_await = self.functions.loaded.get(func_id) or self.functions.load(key, func_id)
            args, kwargs = pickling.loads_call(row[3], inputs)
            if terms is not None and terms.timeout is not None:
                self._limits.start(Limited(key, attempt, terms.timeout, start, slot.index, not to_await))
            if to_await:
                if links is not None:
                    self._after[attempt] = links
                self._run_on_loop(row, start, function, args, kwargs)
                if slot.cancelled == attempt and self._coroutines is not None:
                    self._coroutines.cancel(attempt)  # whoever wanted that came before the coroutine did
                return _LATER
            current_run.set(run)
            value = copy_context().run(function, *args, **kwargs)
            nbytes, type_name, payload = describe_result(key, row[7], value)
        except BaseException as error:  # noqa: BLE001 (whatever a task raises is its outcome, SystemExit included)
            self.fail(key, attempt, error, slot.index, start)
            return _NOTHING
        end = _clock()
        if terms is not None:
            self._unbind(attempt)
        self._ended.append(
            ((key, attempt, nbytes, type_name, payload, slot.index, self._wall + start, end - start), value)
        )
        self._wakeup.ask()
        return value

    def finish(self, row: Row, value: Any, lane: int, start: float) -> None:
        """Report the value of a coroutine."""
        try:
            nbytes, type_name, payload = describe_result(row[0], row[7], value)
        except BaseException as error:  # noqa: BLE001 (as for functions)
            self.fail(row[0], row[1], error, lane, start)
            return
        duration = _clock() - start
        self._unbind(row[1])
        self._ended.append(((row[0], row[1], nbytes, type_name, payload, lane, self._wall + start, duration), value))
        self._wakeup.ask()
        if (links := self._after.pop(row[1], None)) is not None:
            self._pass_on(links, row[0], value)
            self._queue.put(links)

    def fail(self, key: Key, attempt: int, error: BaseException, lane: int, start: float) -> None:
        """Report the exception of a run."""
        terms = self._unbind(attempt)
        if terms is not None and not is_worth_retrying(error, terms.on):
            self._final.append((key, attempt))
        self._errors.append(self._error_row(key, attempt, error, lane, start))
        self._wakeup.ask()
        if (links := self._after.pop(attempt, None)) is not None:
            self._give_back(links)

    def _error_row(self, key: Key, attempt: int, error: BaseException, lane: int, start: float) -> Row:
        duration = _clock() - start
        payload, text, traceback_text = pickling.dumps_exception(error)
        _clear_frames(error)
        return (key, attempt, payload, text, traceback_text, lane, self._wall + start, duration)

    def _unbind(self, attempt: int) -> Terms | None:
        """A run ends: its terms are of no use any more."""
        terms = self._terms.pop(attempt, None) if self._terms else None
        if terms is not None:
            self._limits.end(attempt)
        return terms

    def moved(self, key: Key, attempt: int, left: bool) -> None:
        """Report that a run left its slot, or took one."""
        self._moves.append((key, attempt, left))
        self._wakeup.ask()

    # ---- chains -----------------------------------------------------------------------------------------------------

    def _run_links(self, links: _Links, slot: Slot) -> None:
        """Run row by row, until one has no result, or none yet, or has left its slot."""
        while links.rows:
            row = links.rows.popleft()
            value = self._take(row, slot, links)
            if value is _LATER:
                return
            if value is _NOTHING:
                self._give_back(links)
                return
            self._pass_on(links, row[0], value)
            if slot.left:
                self._queue.put(links)
                return

    def _pass_on(self, links: _Links, key: Key, value: Any) -> None:
        inputs = self._pending.get(links.rows[0][1]) if links.rows else None
        if inputs is not None:
            inputs[key] = value

    def _give_back(self, links: _Links) -> None:
        for row in links.rows:
            if self._pending.pop(row[1], None) is not None:
                self._unbind(row[1])
                self._unstarted.append((row[0], row[1]))
        self._wakeup.ask()

    # ---- leaving and taking slots -----------------------------------------------------------------------------------

    def secede(self, run: Run, slot: Slot) -> None:
        """Let another thread take the slot of this one."""
        index, slot.index, slot.left = slot.index, self.take_lane(run.attempt), True
        self._runs[index] = 0
        self.moved(run.key, run.attempt, left=True)  # told before anything the other one does
        self._start_thread(index)

    def rejoin(self, run: Run, slot: Slot) -> None:
        """Wait until a thread of the pool gives up its slot."""
        token = _Rejoin()
        self._rejoining[token] = None
        if not self.closed:
            self._queue.put(token)
            token.given.wait()
        del self._rejoining[token]
        if token.index >= 0:
            self._runs[token.index] = run.attempt
            self.release_lane(slot.index)
            slot.index, slot.left = token.index, False
            self.moved(run.key, run.attempt, left=False)

    def _run_on_loop(self, row: Row, start: float, function: Any, args: Any, kwargs: Any) -> None:
        with self._threads_lock:
            if self._coroutines is None:
                self._coroutines = Coroutines(self, f"{self._name}-coroutines")
        self._coroutines.start(row, start, function, args, kwargs)

    def take_lane(self, attempt: int) -> int:
        """A row of the task stream for a run outside of the pool."""
        lane = self._lanes.take()
        self._board.note(lane, attempt)
        return lane

    def release_lane(self, lane: int) -> None:
        """Give it back."""
        self._board.note(lane, 0)
        self._lanes.release(lane)


class _Lanes:
    """Numbers for what runs outside of the slots: the lowest that is free, from ``first`` on."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._free: list[int] = []
        self._lock = threading.Lock()

    def take(self) -> int:
        with self._lock:
            if self._free:
                return heappop(self._free)
            self._next += 1
            return self._next - 1

    def release(self, lane: int) -> None:
        with self._lock:
            heappush(self._free, lane)


def _clear_frames(error: BaseException) -> None:
    """Free what the frames of a traceback hold: inputs of the task can be large, and cycles keep them until collected."""
    traceback = error.__traceback__
    while traceback is not None:
        with suppress(RuntimeError):  # our own frame, which still runs
            traceback.tb_frame.clear()
        traceback = traceback.tb_next
