"""E: tasks that harm who runs them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from typing import Any

from myscheduler import CancelledError, GraphError, KilledWorkerError, TaskTimeoutError

from .clusters import Owned, owned
from .rows import Trial, row, until
from .work import Graph, Job, leave_trace, runs_in

#: Text that a client is told of an error, at most: a traceback and a message.
TEXT_CHARS_MAX = 64 * 1024


# ---- E1, E4: tasks that kill --------------------------------------------------------------------------------------


def kill_self(trace: str, how: int) -> None:
    """End this worker, in one of the ways in which tasks do."""
    leave_trace(trace, how)
    if how == 0:
        os._exit(1)
    elif how == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        import ctypes

        ctypes.string_at(0)


@row(
    "E1",
    "a task kills its worker: `os._exit`, `kill -9`, segmentation fault",
    "fails after exactly three deaths, in words; neighbours are not blamed; no stall in 500 repeats",
    theirs="was found stalled within 426 repeats (#3196)",
    wanted=500,
    seconds=210,
    place=partial(owned, 4, threads=2),
)
def poison(cluster: Owned, trial: Trial) -> None:
    trace = cluster.trace()
    neighbours = Job.submit(cluster.client, Graph.flat(40, 0.01), cluster.trace())
    poisoned = cluster.client.submit(kill_self, str(trace), trial.number % 3, pure=False)
    began = time.monotonic()
    error = poisoned.exception(timeout=60)
    trial.within("judged after", time.monotonic() - began, 30.0)
    trial.expect(isinstance(error, KilledWorkerError), f"it ended with {error!r}")
    trial.expect(len(runs_in(trace)) == 3, f"it ran {len(runs_in(trace))} times")
    neighbours.check(trial, 60)
    cluster.look_for_leaks(trial)


class KillsWhenLoaded:
    """A function that ends the process in which it is unpickled."""

    def __init__(self, trace: str, owner: int, hang: bool) -> None:
        self.state = (trace, owner, hang)

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, self.state

    def __call__(self) -> None:
        raise AssertionError("it is never called")


def _load(trace: str, owner: int, hang: bool) -> KillsWhenLoaded:
    if os.getpid() != owner:
        leave_trace(trace, 1 if hang else 0)
        if hang:
            time.sleep(5)
        os._exit(1)
    return KillsWhenLoaded(trace, owner, hang)


@row(
    "E4",
    "unpickling the function kills the worker, or hangs and then kills it",
    "as E1; never happens on the scheduler",
    wanted=20,
    seconds=60,
    place=partial(owned, 3),
)
def poisoned_function(cluster: Owned, trial: Trial) -> None:
    trace, scheduler = cluster.trace(), cluster.scheduler_pid
    neighbours = Job.submit(cluster.client, Graph.flat(20, 0.01), cluster.trace())
    function = KillsWhenLoaded(str(trace), os.getpid(), hang=trial.number % 5 == 4)
    error = cluster.client.submit(function, pure=False).exception(timeout=90)
    trial.expect(isinstance(error, KilledWorkerError), f"it ended with {error!r}")
    runs = runs_in(trace)
    trial.expect(len(runs) == 3, f"it was unpickled {len(runs)} times")
    trial.expect(scheduler not in [run.pid for run in runs], "it was unpickled on the scheduler")
    trial.expect(cluster.scheduler_pid == scheduler, "the scheduler died")
    neighbours.check(trial, 60)


# ---- E2: what cannot be told ---------------------------------------------------------------------------------------


class Refuses:
    """Cannot be pickled, and says so at length."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise RuntimeError("no" * 1_000_000)


class RaisesWhenLoaded:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, ("unpickled",)


def _raise(text: str) -> Any:
    raise RuntimeError(text)


class HugeError(Exception):
    """An exception of 100 MB."""


class StubbornError(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class TwoArgumentsError(Exception):
    """An exception that pickles, but whose constructor does not take what it is given when it is unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def untellable(what: str) -> Any:
    """Return or raise something that is hard to tell others."""
    if what == "result refuses":
        return Refuses()
    if what == "result is a lock":
        return threading.Lock()
    if what == "result raises when loaded":
        return RaisesWhenLoaded()
    if what == "huge exception":
        raise HugeError("x" * 100_000_000)
    if what == "exception with a lock":
        raise StubbornError("with a lock")
    if what == "exception that cannot be made again":
        raise TwoArgumentsError("one", "two")
    raise SystemExit(what)


UNTELLABLE = (
    "result refuses",
    "result is a lock",
    "result raises when loaded",
    "huge exception",
    "exception with a lock",
    "exception that cannot be made again",
    "exit",
)


@row(
    "E2",
    "results and exceptions that cannot be pickled or unpickled, an exception of 100 MB, `SystemExit`",
    "the client gets an error with at most 64 KiB of text; worker and scheduler are unharmed",
    wanted=len(UNTELLABLE) * 5,
    seconds=90,
    place=partial(owned, 2),
)
def tell_the_untellable(cluster: Owned, trial: Trial) -> None:
    before = set(cluster.pids()), cluster.scheduler_pid
    what = UNTELLABLE[trial.number % len(UNTELLABLE)]
    began = time.monotonic()
    future = cluster.client.submit(untellable, what, pure=False)
    try:
        found = future.result(timeout=60)
    except BaseException as error:
        text = str(error)
        trial.expect(not isinstance(error, (TimeoutError, KilledWorkerError)), f"{what}: {error!r}")
        trial.expect(len(text) <= TEXT_CHARS_MAX, f"{what}: {len(text)} characters of text")
        traceback = future.traceback() if future.status == "error" else None
        trial.expect(len(traceback or "") <= TEXT_CHARS_MAX, f"{what}: {len(traceback or '')} of traceback")
    else:
        trial.expect(False, f"{what} gave {found!r}")
    trial.within("told after", time.monotonic() - began, 20.0)
    trial.expect((set(cluster.pids()), cluster.scheduler_pid) == before, f"{what}: processes were replaced")
    trial.expect(cluster.client.submit(abs, -2, pure=False).result(timeout=20) == 2, f"{what}: no work afterwards")


# ---- E3: bad guests ------------------------------------------------------------------------------------------------


def misbehave(how: str) -> str:
    """Do what tasks should not do to the process they are guests of."""
    if how == "recursion":
        return misbehave(how)
    if how == "output":
        for _ in range(200_000):
            print("x" * 100, file=sys.stderr)
    elif how == "fork":
        if os.fork() == 0:
            time.sleep(0.5)
            os._exit(0)
    elif how == "threads":
        for _ in range(20):
            threading.Thread(target=time.sleep, args=(1.0,), daemon=True).start()
    elif how == "descriptors":
        for descriptor in range(21):
            try:
                os.close(descriptor)
            except OSError:
                continue
    return how


MISBEHAVIOURS = ("recursion", "output", "fork", "threads", "descriptors")


@row(
    "E3",
    "tasks that recurse for ever, print 20 MB, fork, leave threads, close descriptors 0 to 20",
    "the worker survives, or is replaced within 5 s",
    wanted=25,
    seconds=90,
    place=partial(owned, 2),
)
def bad_guest(cluster: Owned, trial: Trial) -> None:
    how = MISBEHAVIOURS[trial.number % len(MISBEHAVIOURS)]
    cluster.wait_for_workers(2)
    future = cluster.client.submit(misbehave, how, pure=False)
    error = future.exception(timeout=60)
    expected = {"recursion": RecursionError, "descriptors": KilledWorkerError}.get(how)
    survives = error is None and how != "recursion"
    trial.expect(survives or (expected is not None and isinstance(error, expected)), f"{how}: {error!r}")
    ended = time.monotonic()
    cluster.wait_for_workers(2, 30)
    for name in cluster.by_name():
        probe = cluster.client.submit(abs, -3, workers=[name], pure=False)
        trial.expect(probe.result(timeout=30) == 3, f"{how}: worker {name} does not work")
    trial.within("all workers at work after", time.monotonic() - ended, 5.0)


# ---- E5: time is up ------------------------------------------------------------------------------------------------


def overstay(trace: str, seconds: float) -> str:
    """A thread that cannot be stopped."""
    leave_trace(trace, 0)
    time.sleep(seconds)
    return "too late"


@row(
    "E5",
    "timeout and cancellation of a running thread",
    "the state is right at once; the late result is refused; the slot is booked until the thread returns",
    wanted=30,
    seconds=90,
    place=partial(owned, 1),
)
def time_is_up(cluster: Owned, trial: Trial) -> None:
    trace = cluster.trace()
    cancels = trial.number % 2
    future = cluster.client.submit(overstay, str(trace), 1.5, pure=False, timeout=None if cancels else 0.3)
    until(lambda: runs_in(trace), what="the run")
    began = time.monotonic()
    if cancels:
        future.cancel()
        kind: type[Exception] = CancelledError
    else:
        kind = TaskTimeoutError
    try:
        future.result(timeout=20)
    except kind:
        trial.within("state right after", time.monotonic() - began, 0.2 if cancels else 0.8)
    else:
        trial.expect(False, "there was a result")
    status = future.status
    after = cluster.client.submit(time.monotonic, pure=False)
    after.result(timeout=20)
    trial.expect(time.monotonic() - began > 1.1, "another task ran in a slot that was occupied")
    trial.expect(future.status == status, f"the future was {status} and is {future.status} now")
    [worker] = cluster.workers().values()
    trial.expect(worker["tasks"] == 0, f"{worker['tasks']} runs are still booked")


# ---- E6: odd graphs ------------------------------------------------------------------------------------------------


def increment(x: int) -> int:
    return x + 1


def count(*parts: int) -> int:
    return len(parts)


def _chain(cluster: Owned) -> object:
    graph: dict[Any, Any] = {("n", 0): 0}
    graph |= {("n", i): (increment, ("n", i - 1)) for i in range(1, 100_001)}
    return cluster.client.get(graph, ("n", 100_000)) == 100_000


def _fan_in(cluster: Owned) -> object:
    graph: dict[Any, Any] = {("p", i): (increment, i) for i in range(100_000)}
    graph["all"] = (count, *graph)
    return cluster.client.get(graph, "all") == 100_000


def _cycle(cluster: Owned) -> object:
    graph = {"a": (increment, "b"), "b": (increment, "c"), "c": (increment, "a")}
    try:
        cluster.client.get(graph, "a")
    except GraphError as error:
        return "cycle" in str(error)
    return False


def _duplicate(cluster: Owned) -> object:
    first = cluster.client.submit(increment, 1, key="twin")
    second = cluster.client.submit(increment, 100, key="twin")
    return first.result(timeout=20) == second.result(timeout=20) == 2


def _unknown(cluster: Owned) -> object:
    found = cluster.client.get({"a": (list, ["nobody"])}, "a")  # no key of the graph, so it is a plain word
    return found == ["nobody"]


ODD_GRAPHS = {
    "chain of 100,000": (_chain, 120.0),
    "fan-in of 100,000": (_fan_in, 120.0),
    "cycle": (_cycle, 2.0),
    "duplicate key": (_duplicate, 2.0),
    "unknown name": (_unknown, 2.0),
}


@row(
    "E6",
    "a chain of 100,000 tasks, a fan-in of 100,000, a cycle, a key that is given twice, a name that is no key",
    "the right result, or a clear refusal within 2 s; no recursion error",
    wanted=5,
    seconds=180,
    place=partial(owned, 2),
)
def odd_graph(cluster: Owned, trial: Trial) -> None:
    what, (build, limit) = list(ODD_GRAPHS.items())[trial.number % len(ODD_GRAPHS)]
    began = time.monotonic()
    trial.expect(build(cluster), f"{what}: a wrong result")
    trial.within(what, time.monotonic() - began, limit)
    cluster.forget_all()
