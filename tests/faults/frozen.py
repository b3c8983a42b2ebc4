"""B: processes that are stopped, or too busy to answer, but not dead."""

from __future__ import annotations

import signal
import time
from functools import partial

from . import observe
from .clusters import ByHand, Cluster, Owned, by_hand, owned
from .processes import hold_the_lock
from .rows import Trial, row, until
from .work import Graph, Job, leave_trace, runs_in

#: What polling and a busy machine may add to a time that was promised.
SLACK_S = 0.5


@row(
    "B3",
    "a worker is frozen for good (`SIGSTOP`) under load",
    "no new work after 5 s, its queue is elsewhere by 6 s, replaced by 15 s",
    theirs="603.9 s until the work goes on (measured)",
    wanted=20,
    seconds=400,
    lanes=4,
    waits=True,
    place=partial(owned, 3),
)
def freeze_worker(cluster: Owned, trial: Trial) -> None:
    cluster.wait_for_workers(3)
    job = Job.submit(cluster.client, Graph.flat(1200, 0.02), cluster.trace())
    until(lambda: len(runs_in(job.trace)) > 20, what="the first runs")
    address, victim = trial.random.choice([(a, worker) for a, worker in cluster.info()["workers"].items()])
    observe.kill(victim["pid"], signal.SIGSTOP)
    frozen = time.monotonic()
    until(lambda: cluster.workers()[victim["pid"]]["status"] == "unresponsive", what="unresponsive")
    trial.within("no new work after", time.monotonic() - frozen, 5.0 + SLACK_S)
    until(lambda: len(cluster.client.processing().get(address, ())) <= 1, what="an empty queue")
    trial.within("queue moved after", time.monotonic() - frozen, 6.0 + SLACK_S)
    sent = set(cluster.client.processing().get(address, ()))
    while victim["pid"] in cluster.workers() and time.monotonic() < frozen + 30:
        now = set(cluster.client.processing().get(address, ()))
        trial.expect(now <= sent, f"the frozen worker was given {now - sent}")
        time.sleep(0.05)
    trial.within("declared lost after", time.monotonic() - frozen, 15.0 + SLACK_S)
    try:
        job.check(trial, 60)
        job.expect_repeats_only_of(trial, [victim["pid"]])
        replaced = partial(_is_replaced, cluster, victim["name"], victim["pid"])
        until(replaced, 30, what="another process in place of the frozen one")
        trial.within("replaced after", time.monotonic() - frozen, 15.0 + SLACK_S)
    finally:
        observe.kill(victim["pid"])


def _is_replaced(cluster: Cluster, name: str, pid: int) -> bool:
    worker = cluster.by_name().get(name)
    return worker is not None and worker["pid"] != pid and not observe.runs(pid)


@row(
    "B4",
    "a worker and its keeper are frozen for 30 s, as by a suspended machine, then go on",
    "its work is done elsewhere meanwhile; what it says of old runs changes nothing; it works again",
    wanted=5,
    seconds=200,
    lanes=3,
    waits=True,
    place=partial(by_hand, 2),
)
def suspend_machine(place: tuple[ByHand, Cluster], trial: Trial) -> None:
    commands, cluster = place
    cluster.wait_for_workers(2)
    job = Job.submit(cluster.client, Graph.random(trial.random, 200, 0.02, 1000), cluster.trace())
    until(lambda: len(runs_in(job.trace)) > 20, what="the first runs")
    pid = cluster.by_name()["w0"]["pid"]
    both = (commands.keepers["w0"].pid, pid)
    for each in both:
        observe.kill(each, signal.SIGSTOP)
    frozen = time.monotonic()
    try:
        job.check(trial, 60)
        trial.within("work done after", time.monotonic() - frozen, 30.0)
        until(lambda: time.monotonic() - frozen > 30.0, 40)
    finally:
        for each in both:
            observe.kill(each, signal.SIGCONT)
    awake = time.monotonic()
    until(lambda: _works(cluster, "w0"), 60, 0.05, "work on the worker that was frozen")
    trial.within("works again after", time.monotonic() - awake, 10.0)
    for future, expected in zip(job.futures, job.graph.evaluate(), strict=True):
        trial.expect(future.result(timeout=30)[0] == expected, f"{future.key} has another outcome now")


def _works(cluster: Cluster, name: str) -> bool:
    if cluster.status(name) != "running":
        return False
    probe = cluster.client.submit(abs, -1, workers=[name], pure=False)
    return bool(probe.result(timeout=30) == 1)


def stubborn(trace: str, how: str, seconds: float) -> str:
    """Keep this process from answering for a while, then return."""
    leave_trace(trace, 0)
    if how == "C":
        hold_the_lock(seconds)
    else:
        from myscheduler import get_worker

        get_worker()._loop.call_soon_threadsafe(time.sleep, seconds)
    return "done"


def _keep_busy(cluster: Owned, trial: Trial, how: str) -> None:
    cluster.wait_for_workers(2)
    before = cluster.by_name()
    name = trial.random.choice(list(before))
    trace = cluster.trace()
    future = cluster.client.submit(stubborn, str(trace), how, 20.0, workers=[name], pure=False)
    until(lambda: runs_in(trace), what="the task that blocks")
    began = time.monotonic()
    job = Job.submit(cluster.client, Graph.flat(200, 0.01), cluster.trace())
    job.check(trial, 19)
    trial.within("other work done after", time.monotonic() - began, 15.0)
    statuses = set()
    while not future.done() and time.monotonic() < began + 40:
        statuses.add(cluster.status(name))
        time.sleep(0.2)
    trial.expect(future.result(timeout=30) == "done", "another result")
    trial.expect("unresponsive" in statuses, f"the worker was never unresponsive, only {statuses}")
    trial.figure("result accepted after", time.monotonic() - began)
    trial.expect("lost" not in statuses, "the worker was given up")
    trial.expect(len(runs_in(trace)) == 1, f"the task ran {len(runs_in(trace))} times")
    after = cluster.by_name()
    until(lambda: _works(cluster, name), what="work on the worker that was busy")
    trial.expect(after[name]["pid"] == before[name]["pid"], "the worker was replaced")


@row(
    "B5",
    "a task holds the interpreter lock in C for 20 s",
    "kills nobody: no new work meanwhile, the result counts when it comes",
    theirs="waits for `worker-ttl`, 300 s (its source)",
    wanted=5,
    seconds=120,
    lanes=2,
    waits=True,
    place=partial(owned, 2),
)
def hold_lock(cluster: Owned, trial: Trial) -> None:
    _keep_busy(cluster, trial, "C")


@row(
    "B6",
    "a task blocks the worker's event loop for 20 s",
    "as B5",
    wanted=5,
    seconds=120,
    lanes=2,
    waits=True,
    place=partial(owned, 2),
)
def block_loop(cluster: Owned, trial: Trial) -> None:
    _keep_busy(cluster, trial, "loop")


def outlast(trace: str, seconds: float) -> str:
    """Leave a trace at the beginning and at the end."""
    leave_trace(trace, 0)
    time.sleep(seconds)
    leave_trace(trace, 1)
    return "done"


@row(
    "B7",
    "the scheduler is frozen for 60 s, then goes on",
    "workers go on meanwhile; nobody is given up when it wakes; nothing lost",
    wanted=3,
    seconds=100,
    lanes=3,
    waits=True,
    place=partial(owned, 3),
)
def freeze_scheduler(cluster: Owned, trial: Trial) -> None:
    cluster.wait_for_workers(3)
    before = set(cluster.pids())
    job = Job.submit(cluster.client, Graph.random(trial.random, 600, 0.02, 1000), cluster.trace())
    until(lambda: len(runs_in(job.trace)) > 20, what="the first runs")
    ends = cluster.trace()
    long = cluster.client.submit(outlast, str(ends), 3.0, pure=False, priority=10)
    until(lambda: runs_in(ends), what="the task that is to end meanwhile")
    observe.kill(cluster.scheduler_pid, signal.SIGSTOP)
    frozen = time.monotonic()
    try:
        until(lambda: time.monotonic() - frozen > 60.0, 70)
        trial.expect(len(runs_in(ends)) == 2, "the worker stopped working while the scheduler was frozen")
    finally:
        observe.kill(cluster.scheduler_pid, signal.SIGCONT)
    awake = time.monotonic()
    trial.expect(long.result(timeout=60) == "done", "another result")
    job.check(trial, 60)
    trial.figure("all done after waking", time.monotonic() - awake)
    trial.expect(set(cluster.pids()) == before, f"workers were {before} and are {set(cluster.pids())}")
    job.expect_repeats_only_of(trial, [])
