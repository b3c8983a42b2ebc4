"""C1 to C5: networks that lose everything, for a while or for good."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from . import observe
from .clusters import talker
from .frozen import SLACK_S
from .hosts import Networked, networked
from .rows import Trial, holds_for, row, until
from .work import Graph, Job, runs_in


def _start(cluster: Networked, trial: Trial, count: int = 600, seconds: float = 0.02) -> Job:
    cluster.hosts.heal()
    cluster.wait_for_workers(cluster.hosts.count - 1)
    job = Job.submit(cluster.client, Graph.random(trial.random, count, seconds, 1000), cluster.trace())
    until(lambda: len(runs_in(job.trace)) > 20, what="the first runs")
    return job


def _lost_within(cluster: Networked, trial: Trial, name: str, since: float, limit: float) -> None:
    """Its work must be elsewhere in time: it is lost, or has nothing left."""
    until(lambda: _has_nothing(cluster, name), 60, 0.02, f"the loss of {name}")
    trial.within("work moved after", time.monotonic() - since, limit)


def _has_nothing(cluster: Networked, name: str) -> bool:
    worker = cluster.by_name().get(name)
    return worker is None or worker["status"] == "lost" or (worker["tasks"] == 0 and worker["status"] != "running")


@row(
    "C1",
    "the network between a worker and the scheduler loses everything",
    "its work is elsewhere within 12 s",
    theirs="38.9 s (measured)",
    wanted=5,
    seconds=200,
    lanes=2,
    waits=True,
    place=partial(networked, 3),
)
def cut_both_ways(cluster: Networked, trial: Trial) -> None:
    job = _start(cluster, trial)
    pid = cluster.by_name()["w2"]["pid"]
    cluster.hosts.cut(2)
    cut = time.monotonic()
    _lost_within(cluster, trial, "w2", cut, 12.0 + SLACK_S)
    job.check(trial, 60)
    trial.within("all done after", time.monotonic() - cut, 40.0)
    job.expect_repeats_only_of(trial, [pid])
    cluster.hosts.heal()


@row(
    "C2",
    "the network loses everything in one direction only",
    "as C1; each side changes its mind at most once",
    wanted=4,
    seconds=200,
    lanes=2,
    waits=True,
    place=partial(networked, 3),
)
def cut_one_way(cluster: Networked, trial: Trial) -> None:
    job = _start(cluster, trial)
    pid = cluster.by_name()["w2"]["pid"]
    cluster.hosts.drop((2, 1) if trial.number % 2 else (1, 2))
    cut = time.monotonic()
    statuses = ["running"]
    while time.monotonic() < cut + 25:
        status = cluster.status("w2")
        if status != statuses[-1]:
            statuses.append(status)
            if status == "lost":
                trial.within("given up after", time.monotonic() - cut, 12.0 + SLACK_S)
        time.sleep(0.05)
    trial.expect(statuses in (["running", "unresponsive", "lost"], ["running", "lost"]), f"the worker was {statuses}")
    job.check(trial, 60)
    job.expect_repeats_only_of(trial, [pid])
    cluster.hosts.heal()


def read(*parts: tuple[int, bytes]) -> int:
    """Needs its inputs, so it fetches them."""
    return sum(number for number, _ in parts)


@row(
    "C3",
    "the link between two workers is cut; both reach the scheduler",
    "the reader asks another holder, or the value is computed again, within 12 s; neither is given up",
    wanted=8,
    seconds=200,
    lanes=2,
    waits=True,
    place=partial(networked, 3),
)
def cut_workers_apart(cluster: Networked, trial: Trial) -> None:
    cluster.hosts.heal()
    cluster.wait_for_workers(3)
    client = cluster.client
    when = ("before they connect", "while idle", "during the answer", "with another holder")[trial.number % 4]
    before = set(cluster.pids())
    if when != "before they connect":
        first = Job.submit(client, Graph.flat(1, 0.0, 2_000_000), cluster.trace(), workers=["w2"])
        client.submit(read, *first.futures, workers=["w3"], pure=False).result(timeout=30)
    if when == "with another holder":
        sources = client.scatter(
            [(number, bytes(30_000_000)) for number in range(3)], broadcast=True, workers=["w2", "w4"]
        )
        expected = 3
    else:  # one for each worker, as they take a while
        job = Job.submit(client, Graph.flat(3, 0.3, 30_000_000), cluster.trace())
        job.check(trial, 30)
        sources, expected = job.futures, sum(job.graph.evaluate())
    if when != "during the answer":
        cluster.hosts.drop((2, 3), (3, 2))
    reader = client.submit(read, *sources, workers=["w3"], pure=False)
    if when == "during the answer":
        time.sleep(0.05)
        cluster.hosts.drop((2, 3), (3, 2))
    cut = time.monotonic()
    found = reader.result(timeout=60)
    trial.within(f"read after ({when})", time.monotonic() - cut, 12.0 + SLACK_S)
    trial.expect(found == expected, f"the reader found {found}")
    trial.expect(set(cluster.pids()) == before, "a worker was given up")
    cluster.hosts.heal()


#: An idle client on a host that is to vanish: it says when it is there, and when it has noticed.
IDLE_CLIENT = """
import sys, time
from myscheduler import Client
client = Client(scheduler_file=sys.argv[1], set_as_default=False)
print("connected", flush=True)
while client.status == "running":
    time.sleep(0.02)
print(time.monotonic(), flush=True)
"""


@row(
    "C4",
    "a host vanishes, with a worker and a client, while their connections are idle",
    "the scheduler notices the loss of both, and the client that of the scheduler, within 12 s",
    theirs="30 s (its source)",
    wanted=5,
    seconds=150,
    lanes=2,
    waits=True,
    place=partial(networked, 2),
)
def vanish_idle(cluster: Networked, trial: Trial) -> None:
    cluster.hosts.heal()
    cluster.wait_for_workers(2)
    job = Job.submit(cluster.client, Graph.flat(20, 0.0), cluster.trace())
    job.check(trial, 30)
    alone = cluster.info()["clients"]
    command: list[Any] = [*cluster.hosts.inside(3), sys.executable, "-c", IDLE_CLIENT, cluster.commands.file]
    with talker(command) as client:
        client.hear("connected")
        holds_for(lambda: True, 2.0)
        cluster.hosts.cut(3)
        cut = time.monotonic()
        seen: dict[str, float] = {}
        while len(seen) < 2 and time.monotonic() < cut + 100:
            if cluster.info()["clients"] == alone:
                seen.setdefault("of the client", time.monotonic() - cut)
            if cluster.status("w3") == "lost":
                seen.setdefault("of the worker", time.monotonic() - cut)
            time.sleep(0.05)
        seen["by the client"] = float(client.hear()) - cut
    for who in ("of the worker", "of the client", "by the client"):
        trial.expect(who in seen, f"the loss {who} was never noticed")
        trial.within(f"noticed {who} after", seen.get(who, 0.0), 12.0 + SLACK_S)
    cluster.hosts.heal()


@row(
    "C5",
    "a partition of 60 s heals",
    "all work right; the worker is taken back with its data within 5 s",
    theirs="a new worker in place of the old one; its data is lost",
    wanted=20,
    seconds=430,
    lanes=4,
    waits=True,
    place=partial(networked, 3),
)
def heal_partition(cluster: Networked, trial: Trial) -> None:
    job = _start(cluster, trial)
    kept = cluster.client.submit(bytes, 1000, workers=["w2"], pure=False)
    kept.result(timeout=30)
    pid = cluster.by_name()["w2"]["pid"]
    cluster.hosts.cut(2)
    cut = time.monotonic()
    job.check(trial, 55)
    until(lambda: time.monotonic() - cut > 60.0, 61)
    cluster.hosts.heal()
    healed = time.monotonic()
    until(lambda: cluster.status("w2") == "running", 60, 0.02, "the return of w2")
    trial.within("taken back after", time.monotonic() - healed, 5.0 + SLACK_S)
    worker = cluster.by_name()["w2"]
    trial.expect(worker["pid"] == pid, "it is another process, without its data")
    trial.expect(observe.runs(pid), "its process has ended")
    trial.expect(kept.result(timeout=30) == bytes(1000), "what it held is gone")
    trial.expect(worker["stored"] > 0, "it holds nothing any more")
    probe = cluster.client.submit(abs, -5, workers=["w2"], pure=False)
    trial.expect(probe.result(timeout=30) == 5, "it does not work")
    job.expect_repeats_only_of(trial, [pid])
