"""B: processes that are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from functools import partial

from . import observe
from .clusters import ByHand, Cluster, Owned, Talker, by_hand, owned, start_victim, talker
from .rows import Trial, row, until
from .work import Graph, Job


@row(
    "B1",
    "`kill -9` of two workers under load, one soon after the other",
    "noticed within 1 s; nothing lost, nothing twice; only what it ran or held runs again",
    theirs="a job of four times 2 s took 8.4 s with a kill (measured)",
    wanted=250,  # of two each
    seconds=210,
    place=partial(owned, 4),
)
def kill_workers(cluster: Owned, trial: Trial) -> None:
    cluster.wait_for_workers(3)
    random = trial.random
    job = Job.submit(cluster.client, Graph.random(random, 60, 0.005, padding=1000), cluster.trace())
    time.sleep(random.uniform(0, 0.12))
    victims = random.sample(cluster.pids(), 2)
    killed = {}
    for victim in victims:
        observe.kill(victim)
        killed[victim] = time.monotonic()
        time.sleep(random.uniform(0, 0.05))
    until(lambda: not killed.keys() & cluster.workers().keys(), what="the loss of both workers")
    # Of the first, that is more than it took.
    trial.within("noticed after", time.monotonic() - min(killed.values()), 1.0)
    job.check(trial, 30)
    trial.within("all done after", time.monotonic() - min(killed.values()), 30.0)
    job.expect_repeats_only_of(trial, victims)
    job.futures.clear()
    cluster.look_for_leaks(trial)


@row(
    "B2",
    "`kill -9` of what keeps a worker running (`myworker`)",
    "the worker ends within 2 s, also while it runs a task in C; its work runs elsewhere",
    wanted=50,
    seconds=150,
    place=partial(by_hand, 1),
)
def kill_keeper(place: tuple[ByHand, Cluster], trial: Trial) -> None:
    commands, cluster = place
    name = start_victim(commands, cluster, trial.number)
    worker = cluster.by_name()[name]["pid"]
    job = Job.submit(cluster.client, Graph.flat(30, 0.01), cluster.trace())
    holding = cluster.client.submit(hold_the_lock, 20.0, workers=[name]) if trial.number % 2 else None
    time.sleep(trial.random.uniform(0.0, 0.1))
    observe.kill(commands.keepers[name].pid)
    killed = time.monotonic()
    commands.keepers.pop(name).wait()
    until(lambda: not observe.runs(worker), 10, what="the end of the worker")
    trial.within("worker gone after", time.monotonic() - killed, 2.0)
    if holding is not None:
        holding.release()
    job.check(trial, 30)
    job.expect_repeats_only_of(trial, [worker])


def hold_the_lock(seconds: float) -> None:
    """Keep the interpreter lock in C, so that no other thread of this process runs."""
    import ctypes

    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


@row(
    "B8",
    "workers killed at random, each living 5 s on average",
    "all results right; at least 30 % of the speed without faults; nothing left behind",
    wanted=1,
    seconds=200,
    place=partial(owned, 4),
)
def kill_at_random(cluster: Owned, trial: Trial) -> None:
    random = trial.random
    count, seconds = 1000, 0.003
    began = time.monotonic()
    Job.submit(cluster.client, Graph.random(random, count, seconds, 100), cluster.trace()).check(trial, 60)
    fault_free = count / (time.monotonic() - began)
    done, kills, began = 0, 0, time.monotonic()
    next_kill = began + random.expovariate(4 / 5)
    while time.monotonic() < began + 90:
        job = Job.submit(cluster.client, Graph.random(random, count, seconds, 100), cluster.trace())
        while not all(future.done() for future in job.futures) and time.monotonic() < began + 180:
            if time.monotonic() >= next_kill:
                next_kill += random.expovariate(4 / 5)
                pids = cluster.pids()
                if pids:
                    observe.kill(random.choice(pids))
                    kills += 1
            time.sleep(0.01)
        job.check(trial, 60)
        done += count
        job.futures.clear()
    lasted = time.monotonic() - began
    trial.figure("tasks", done, "")
    trial.figure("kills", kills, "")
    trial.figure("lasted", lasted)
    trial.at_least("speed kept", 100 * done / lasted / fault_free, 30, "%")
    cluster.forget_all()


@row(
    "B9",
    "two workers are retired while others fetch from them",
    "nothing is computed again",
    theirs="a deadlock was reported (#6244)",
    wanted=100,  # of two each
    seconds=150,
    place=partial(owned, 4),
)
def retire_while_fetching(cluster: Owned, trial: Trial) -> None:
    cluster.wait_for_workers(4)
    random = trial.random
    retired = random.sample(list(cluster.by_name()), 2)
    sources = Job.submit(cluster.client, Graph.flat(12, 0.0, padding=200_000), cluster.trace(), workers=retired)
    for future in sources.futures:
        future.result(timeout=30)
    readers = [cluster.client.submit(total, *sources.futures[index : index + 4], pure=False) for index in range(8)]
    time.sleep(random.uniform(0, 0.02))
    cluster.client.retire_workers(retired)
    expected = sources.graph.evaluate()
    for index, reader in enumerate(readers):
        found = reader.result(timeout=30)
        trial.expect(found == sum(expected[index : index + 4]), f"reader {index} found {found}")
    sources.check(trial, 30)
    runs = sources.runs()
    again = [number for number, found in runs.items() if len(found) > 1]
    trial.expect(not again, f"tasks {again} were computed again")
    until(lambda: not set(retired) & cluster.by_name().keys(), what="the end of the retired workers")
    cluster.cluster.scale(4)


def total(*parts: tuple[int, bytes]) -> int:
    return sum(part for part, _ in parts)


#: What a client does that is about to be killed: it prints when it has begun.
CLIENT = """
import sys, time
import numpy as np
from myscheduler import Client
from tests.faults.processes import slow_square
what, file = sys.argv[1:]
client = Client(scheduler_file=file, set_as_default=False)
futures = client.map(slow_square, range(200))
data = client.scatter([np.zeros(100_000) for _ in range(5)])
print("begun", flush=True)
while True:
    if what == "submit":
        futures += client.map(slow_square, range(200))
    elif what == "gather":
        client.gather(futures)
    else:
        data += client.scatter([np.zeros(100_000) for _ in range(5)])
        data = data[-20:]
    time.sleep(0.05)
"""


def slow_square(x: int) -> int:
    time.sleep(0.001)
    return x * x


@row(
    "B10",
    "`kill -9` of twelve clients during submit, gather or scatter",
    "what only they wanted is forgotten after 30 s, in which they could have come back; other clients notice nothing",
    theirs="its futures are released when the connection closes; so they are by a mere interruption",
    wanted=17,
    seconds=400,
    lanes=2,
    waits=True,
    place=partial(by_hand, 2),
)
def kill_client(place: tuple[ByHand, Cluster], trial: Trial) -> None:
    commands, cluster = place
    random = trial.random
    job = Job.submit(cluster.client, Graph.random(random, 100, 0.001, 1000), cluster.trace())
    with ExitStack() as stack:
        whats = [("submit", "gather", "scatter")[index % 3] for index in range(KILLED_PER_TRIAL)]
        killed = [stack.enter_context(_start_client(commands, what)) for what in whats]
        for client in killed:
            client.hear("begun")
        for client in killed:
            time.sleep(random.uniform(0, 0.05))
            client.process.kill()
        began = time.monotonic()
    until(lambda: _settled(cluster, job), 60, 0.1, "the end of what the killed clients wanted")
    trial.within("forgotten after", time.monotonic() - began, 30.0 + 2.0)  # the lease, and looking
    trial.figure("clients killed", len(killed), "")
    job.check(trial, 30)
    job.expect_repeats_only_of(trial, [])


KILLED_PER_TRIAL = 12


def _settled(cluster: Cluster, job: Job) -> bool:
    """Whether the scheduler knows, and the workers hold, what the job wants and nothing else."""
    held = {key for keys in cluster.client.has_what().values() for key in keys}
    return bool(cluster.info()["tasks"] == len(job.futures) and held <= {future.key for future in job.futures})


def _start_client(commands: ByHand, what: str) -> AbstractContextManager[Talker]:
    # Twelve that start at once must not keep the processors from what other rows measure.
    command = ["nice", "-n", "19", sys.executable, "-c", CLIENT, what, commands.file]
    return talker(command, stderr=subprocess.DEVNULL)
