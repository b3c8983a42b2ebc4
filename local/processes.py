"""Tasks in processes of this machine: for pure Python, which threads would run one at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final

from ..base.errors import ClosedError, KilledWorkerError, UsageError
from ..base.keys import Key
from ..protocol.pickling import loads
from . import remote
from .common import LocalScheduler, choose_pool, workers_wanted
from .loop import Run
from .pipes import receive, send
from .serving import Reply, Request
from .team import Team

#: What a child runs. The path comes first: the child must find the same modules, this package among them.
_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from myscheduler.local.child import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
#: Seconds of work to hand to a process at a time; a round trip costs about a tenth of a millisecond.
_BATCH_S: Final = 0.005
_BATCH_MAX: Final = 256
#: Seconds in which a child must end once its pipe is closed.
_PATIENCE_S: Final = 1.0


class ProcessesScheduler(LocalScheduler):
    """Runs tasks in processes that are started for each call, unless ``pool`` says otherwise.

    Functions, arguments and results are pickled (with cloudpickle where needed). Scripts need no ``__main__`` guard. If a
    process dies, ``compute`` raises ``KilledWorkerError``.

    Options of ``compute`` are ``num_workers``, how many processes: one for each processor by default; and ``pool``, a
    ``ProcessPool`` to use and keep, or any ``concurrent.futures.Executor``.
    """

    name = "processes"
    options = ("num_workers", "pool")

    def _work(self, run: Run, options: Mapping[str, Any]) -> list[Any]:
        pool, wanted = choose_pool(options)
        if isinstance(pool, Executor):
            from .executors import run_on

            return run_on(pool, run, wanted)
        if pool is None:
            with ProcessPool(wanted) as own:
                own.work(run)
        elif isinstance(pool, ProcessPool):
            pool.work(run)
        else:
            raise UsageError(f"pool={pool!r} is neither a ProcessPool nor a concurrent.futures.Executor")
        return remote.values(run)

    def _value(self, value: Any) -> Any:
        return loads(value)


class ProcessPool:
    """Processes that run tasks, to be used for several graphs.

    Parameters
    ----------
    num_workers : int, optional
        How many at most; one for each processor by default. They are started as they are needed.

    Examples
    --------
    >>> from myscheduler.graph.task import Task
    >>> with ProcessPool(2) as pool:
    ...     ProcessesScheduler().compute({"x": Task(abs, (-1,))}, ["x"], pool=pool)
    [1]
    """

    def __init__(self, num_workers: int | None = None) -> None:
        self._limit = workers_wanted(num_workers)
        self._threads = ThreadPoolExecutor(self._limit, thread_name_prefix="myscheduler-processes")
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._all: dict[int, Child] = {}
        self._closed = False
        self._batch = 1

    def work(self, run: Run) -> None:
        """Run a graph."""
        if self._closed:
            raise ClosedError("the pool of processes has been closed")
        Team(run, self._threads, self._limit, lambda ranks: self._execute(run, ranks), lambda: self._batch).work()

    def _execute(self, run: Run, ranks: list[int]) -> list[Any]:
        child = self._take()
        try:
            request = remote.pack(run, ranks, child.known)
            start = time.perf_counter()
            reply = child.ask(request, [run.keys[rank] for rank in ranks])
            duration = time.perf_counter() - start
        finally:
            self._give_back(child)
        # Aim at batches that are long next to the round trip and short next to what people wait for.
        fitting = int(len(ranks) * _BATCH_S / max(duration, 1e-6))
        self._batch = max(1, min(fitting, 2 * self._batch, _BATCH_MAX))
        return remote.unpack(reply)

    def _take(self) -> Child:
        with self._lock:
            if self._closed:
                raise ClosedError("the pool of processes has been closed")
            if self._idle:
                return self._idle.pop()
            child = Child()
            self._all[child.pid] = child
            return child

    def _give_back(self, child: Child) -> None:
        with self._lock:
            if child.usable and not self._closed:
                self._idle.append(child)
            else:
                self._all.pop(child.pid, None)

    def close(self) -> None:
        """End the processes: those that have nothing to do at once and orderly, the others by force."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for child in idle:
                del self._all[child.pid]
            busy, self._all = list(self._all.values()), {}
        for child in busy:
            child.kill()
        for child in idle:
            child.hang_up()
        for child in idle:
            child.close()
        self._threads.shutdown(wait=False)

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Child:
    """One process that runs tasks, and our end of its pipes."""

    def __init__(self) -> None:
        to_child, requests = os.pipe()
        replies, from_child = os.pipe()
        # Children must agree on where a string hashes to, as tasks that partition data rely on it.
        environment = {"PYTHONHASHSEED": "0", **os.environ}
        if environment["PYTHONHASHSEED"] == "random":
            environment["PYTHONHASHSEED"] = "0"
        command = [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(to_child), str(from_child)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=(to_child, from_child), env=environment
            )
        except BaseException:
            os.close(requests)
            os.close(replies)
            raise
        finally:
            os.close(to_child)
            os.close(from_child)
        self._requests = open(requests, "wb")  # noqa: SIM115 - closed by close()
        self._replies = open(replies, "rb")  # noqa: SIM115
        self.pid = self._process.pid
        #: functions that it has, by id
        self.known: dict[bytes, None] = {}
        self.usable = True

    def ask(self, request: Request, keys: list[Key]) -> Reply:
        """Send a request and wait for the answer.

        Parameters
        ----------
        request : Request
            Tasks.
        keys : list of Key
            What they are called, for the text of the error.

        Raises
        ------
        KilledWorkerError
            The process died.
        """
        self.usable = False  # until the answer is complete
        try:
            send(self._requests, request)
            reply: Reply = receive(self._replies)
        except (OSError, EOFError):
            raise KilledWorkerError(self._obituary(keys)) from None
        self.known.update(dict.fromkeys(request[0]))
        self.usable = True
        return reply

    def _obituary(self, keys: list[Key]) -> str:
        code = self._end()
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = "unknown"
            how = f"was killed by signal {-code} ({name})"
            if name == "SIGKILL":
                how += ", as the system does when memory runs out"
        else:
            how = f"ended with exit code {code}"
        if len(keys) == 1:
            return f"worker process {self.pid} {how} while it ran task {keys[0]!r}; its result is lost"
        tasks = f"one of {len(keys)} tasks, {keys[0]!r} to {keys[-1]!r}"
        return f"worker process {self.pid} {how} while it ran {tasks}; their results are lost"

    def _end(self) -> int:
        """Wait for the process, with force if it does not end by itself; returns its exit code."""
        self.hang_up()
        try:
            return self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def hang_up(self) -> None:
        """Close the pipes: an idle process ends then. Idempotent."""
        for stream in (self._requests, self._replies):
            try:
                stream.close()
            except OSError:  # what was still buffered for a process that is gone
                continue

    def close(self) -> None:
        """End an idle process."""
        self._end()

    def kill(self) -> None:
        """End the process at once; whoever waits for its answer gets a ``KilledWorkerError``."""
        self._process.kill()
