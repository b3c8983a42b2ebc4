"""Keeps one child process running: a worker or the dashboard that dies is started again, within reason."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Final

from ..worker.server.metrics import used_bytes
from .exits import CLOSED, PERMANENT
from .memory import ADVICE, SAMPLE_S, MemoryWatch
from .obituary import Obituary, last_lines
from .process import GRACE_S, ChildProcess
from .standstill import Standstill, Verdict

logger = logging.getLogger(__name__)

#: A child that ran this long was well; its end starts a new count of failures.
STABLE_S: Final = 30.0
#: Failures in a row after which a child is given up, before the first time it was ready and after.
FAILURES_MAX_STARTING: Final = 3
FAILURES_MAX: Final = 20
#: The first replacement starts at once; later ones after a pause that doubles up to the longest.
PAUSE_S: Final = 0.25
PAUSE_MAX_S: Final = 10.0
#: The longest after a child that had been at work: a task may have killed it, and the next one need not.
PAUSE_AFTER_WORK_S: Final = 0.5


class Keeper:
    """One place that is to be filled by a running process.

    Parameters
    ----------
    name : str
        What the process is, for the log: ``"worker 3"``.
    spawn : callable
        Starts the process.
    on_ended : callable, optional
        Called with this keeper and a reason, once, when no process will run here any more though nobody called
        ``stop``: it closed as asked by the scheduler, or was given up.
    on_death : callable, optional
        Called with what is known about it whenever the process has ended though nobody wanted it to, or ``stop`` had to
        kill it.
    on_silence : callable, optional
        Called every few seconds while the process lives but its loop does not turn, with its id and how much of a processor
        it uses. Without, nobody looks.
    memory_limit : int, optional
        Bytes; a process that uses nearly all of them is killed and replaced. 0 for no limit; None: do not look.

    Notes
    -----
    Belongs to the running loop; ``start`` and all else are called there.
    """

    def __init__(
        self,
        name: str,
        spawn: Callable[[], ChildProcess],
        on_ended: Callable[[Keeper, str], None] | None = None,
        *,
        on_death: Callable[[Obituary], None] | None = None,
        on_silence: Callable[[int, float], None] | None = None,
        memory_limit: int | None = None,
    ) -> None:
        self.name = name
        self.restarts = 0
        self.ready = False
        self.failure: str | None = None
        self._spawn = spawn
        self._on_ended = on_ended
        self._on_death = on_death
        self._on_silence = on_silence
        self._memory_limit = memory_limit
        self._process: ChildProcess | None = None
        self._started = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None while no process runs."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    @property
    def returncode(self) -> int | None:
        """How the last process ended; None while it runs."""
        return None if self._process is None else self._process.returncode

    def start(self) -> None:
        """Start the process and watch it."""
        self._run()
        self._task = asyncio.get_running_loop().create_task(self._watch(), name=f"keep {self.name}")

    async def stop(self, grace: float = GRACE_S, *, patience: float = 0.0) -> None:
        """End the process for good: see ``ChildProcess.stop``."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        process = self._process
        if process is not None:
            pid = self.pid
            code = await process.stop(grace, patience=patience)
            if pid is not None and code < 0 and self._on_death is not None:
                lasted = asyncio.get_running_loop().time() - self._started
                self._on_death(Obituary(pid, code, lasted, planned=True))

    def stop_now(self) -> None:
        """``stop`` for when the loop does not run any more."""
        if self._process is not None:
            self._process.stop_now()

    async def wait(self) -> int | None:
        """Wait until no process runs here any more and none will; how the last one ended."""
        if self._task is not None:
            await asyncio.wait([self._task])
        return self.returncode

    def _run(self) -> None:
        self._started = asyncio.get_running_loop().time()
        self._process = self._spawn()

    async def _watch(self) -> None:
        failures = 0
        while True:
            process = self._process
            assert process is not None
            obituary = await self._attend(process)
            code = obituary.code
            believed = not process.was_cut_short
            if code == CLOSED and believed:
                self._end("closed")
                return
            if self._on_death is not None:
                self._on_death(obituary)
            failures = 1 if obituary.lasted_s > STABLE_S else failures + 1
            if code in PERMANENT and believed:
                self._give_up(process, f"{PERMANENT[code]} ({obituary.brief})")
                return
            if not process.was_ready and failures >= (FAILURES_MAX if self.ready else FAILURES_MAX_STARTING):
                self._give_up(process, f"{obituary.brief}, {failures} times in a row")
                return
            longest = PAUSE_AFTER_WORK_S if process.was_ready else PAUSE_MAX_S
            pause = 0.0 if failures == 1 else min(PAUSE_S * 2.0 ** min(failures - 2, 10), longest)
            when = f"in {pause:g} s" if pause else "now"
            helps = f". What helps: {ADVICE}" if obituary.killed_for == "memory" else ""
            logger.warning(
                "%s (pid %d) %s; another one starts %s%s%s",
                *(self.name, process.pid, obituary.how, when, helps, _said(process)),
            )
            await asyncio.sleep(pause)
            self.restarts += 1
            self._run()

    async def _attend(self, process: ChildProcess) -> Obituary:
        """Look after one process until it has ended."""
        loop = asyncio.get_running_loop()
        watch = _Watch(self.name, process, self._memory_limit, self._on_silence)
        watching = loop.create_task(watch.run(), name=f"watch {self.name}")
        try:
            code = await process.wait()
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        lasted = loop.time() - self._started
        words = last_lines(await process.last_output(), code)
        killed_for = watch.killed_for if code == -signal.SIGKILL else ""
        memory = watch.memory
        running = () if process.board is None else process.board.running
        return Obituary(
            *(process.pid, code, lasted, memory.last, memory.limit, killed_for), last_words=words, running=running
        )

    def _give_up(self, process: ChildProcess, reason: str) -> None:
        self.failure = f"{self.name} {reason}"
        logger.error("%s (pid %d) %s; it is not started again%s", self.name, process.pid, reason, _said(process))
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self._on_ended is not None:
            self._on_ended(self, reason)

    def __repr__(self) -> str:
        return f"<Keeper of {self.name}: {self._process!r}, restarted {self.restarts} times>"


class _Watch:
    """Looks at a process from outside, again and again, until it has ended or must be killed."""

    def __init__(
        self,
        name: str,
        process: ChildProcess,
        memory_limit: int | None,
        on_silence: Callable[[int, float], None] | None,
    ) -> None:
        self.memory = MemoryWatch(name, memory_limit or 0)
        #: why it was killed: a cause of ``Obituary``
        self.killed_for = ""
        self._process = process
        self._weighs = memory_limit is not None
        self._on_silence = on_silence
        self._standstill = Standstill(process.pid, asyncio.get_running_loop().time())

    async def run(self) -> None:
        while self._weighs or self._on_silence is not None:
            if self._must_die():
                self._process.kill()
                return
            await asyncio.sleep(SAMPLE_S)

    def _must_die(self) -> bool:
        if self._weighs:
            nbytes = used_bytes(self._process.pid)
            if nbytes is not None and self.memory.exceeded_by(nbytes):
                self.killed_for = "memory"
        board = self._process.board
        if board is not None and self._on_silence is not None:
            verdict = self._standstill.judge(asyncio.get_running_loop().time(), board.beats)
            if verdict is Verdict.VOUCH:
                self._on_silence(self._process.pid, self._standstill.busy)
            elif verdict is not Verdict.NOTHING:
                self.killed_for = verdict.name.lower()
        return bool(self.killed_for)


def _said(process: ChildProcess) -> str:
    """The end of what the process wrote, if that was captured: it usually says why it ended."""
    lines = last_lines(process.output) if process.captures else ()
    return "".join(f"\n    {line}" for line in lines)
