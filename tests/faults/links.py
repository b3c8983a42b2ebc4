"""C6 to C12: networks that lose some, delay, garble; peers that do not read, or are somebody else."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from myscheduler.base.credentials import Credentials
from myscheduler.protocol.handshake import ServerHandshake
from myscheduler.protocol.messages import Role
from myscheduler.protocol.stream import VALUES_BYTES_MAX

from . import observe
from .clusters import ROOT, ByHand, Cluster, by_hand, start_victim, talker, workshop
from .hosts import Hosts, Networked, networked, tell
from .rows import Trial, row, until
from .work import Graph, Job


class Watch:
    """Notes when the scheduler gives a worker up, or thinks it silent."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pids = set(cluster.pids())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.lost: set[int] = set()
        self.silent: set[int] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            workers = self._cluster.workers()
            gone = {pid for pid in self._pids if workers.get(pid, {"status": "lost"})["status"] == "lost"}
            self.lost |= gone
            self.silent |= {pid for pid, worker in workers.items() if worker["status"] == "unresponsive"}


# ---- C6, C7, C8: bad wires ----------------------------------------------------------------------------------------


@row(
    "C6",
    "5 % and 20 % of all packets are lost at random",
    "the work is done; nobody is given up at 5 %",
    wanted=4,
    seconds=120,
    place=partial(networked, 3),
)
def lossy(cluster: Networked, trial: Trial) -> None:
    percent = (5, 20)[trial.number % 2]
    cluster.hosts.heal()
    cluster.wait_for_workers(3)
    graph = Graph.random(trial.random, 300, 0.01, 1000)
    began = time.monotonic()
    Job.submit(cluster.client, graph, cluster.trace()).check(trial, 60)
    clean = time.monotonic() - began
    pairs = [(a, b) for a in range(1, 5) for b in range(1, 5) if a != b]
    cluster.hosts.drop(*pairs, percent=percent)
    with Watch(cluster) as watch:
        began = time.monotonic()
        Job.submit(cluster.client, graph, cluster.trace()).check(trial, 120)
        trial.figure(f"slower at {percent} %", (time.monotonic() - began) / clean, "times")
    trial.figure(f"given up at {percent} %", len(watch.lost), "")
    trial.expect(percent > 5 or not watch.lost, f"workers {watch.lost} were given up")
    cluster.hosts.heal()


@row(
    "C7",
    "200 ms from host to host and back, half of it more or less",
    "1,000 tasks in ten layers take at most three times what they must; nobody is given up",
    wanted=2,
    seconds=120,
    place=partial(networked, 2, threads=2, delay=0.1, jitter=0.05),
)
def far_away(cluster: Networked, trial: Trial) -> None:
    layers, width, seconds = 10, 100, 0.02
    inputs = [
        [] if number < width else [(number // width - 1) * width + (number * k + k) % width for k in (3, 7)]
        for number in range(layers * width)
    ]
    graph = Graph(inputs, seconds, 100)
    with Watch(cluster) as watch:
        began = time.monotonic()
        Job.submit(cluster.client, graph, cluster.trace()).check(trial, 120)
        took = time.monotonic() - began
    ideal = layers * width * seconds / 4 + layers * 0.2
    trial.figure("took", took)
    trial.within("times what it must", took / ideal, 3.0)
    trial.figures["times what it must"] = (took / ideal, "", "most")
    trial.expect(not watch.lost, f"workers {watch.lost} were given up")


def blob(nbytes: int) -> bytes:
    return os.urandom(nbytes)


@row(
    "C8",
    "a link of 1 Mbit/s carries a result of 50 MB",
    "heartbeats are not starved: nobody is given up",
    wanted=2,
    seconds=150,
    lanes=2,
    waits=True,
    place=partial(networked, 2),
)
def narrow(cluster: Networked, trial: Trial) -> None:
    cluster.wait_for_workers(2)
    client = cluster.client
    big = client.submit(blob, 50_000_000, workers=["w2"], pure=False)
    until(big.done, what="the large result")
    before = set(cluster.pids())
    cluster.hosts.limit_rate(2, "1mbit")
    reader = client.submit(len, big, workers=["w3"], pure=False)
    with Watch(cluster) as watch:
        began = time.monotonic()
        while time.monotonic() < began + 45:
            probe = client.submit(abs, -7, workers=["w2"], pure=False)
            trial.expect(probe.result(timeout=45) == 7, "a wrong result")
            time.sleep(0.5)
    trial.expect(not watch.lost, f"workers {watch.lost} were given up")
    trial.figure("thought silent", len(watch.silent), "")
    cluster.hosts.limit_rate(2, "10gbit")
    trial.expect(reader.result(timeout=60) == 50_000_000, "a wrong size")
    trial.expect(set(cluster.pids()) == before, "workers were replaced")


# ---- C9: broken connections ----------------------------------------------------------------------------------------


@row(
    "C9",
    "connections of workers and client are reset between messages and within, cut into single bytes, stalled",
    "2,000 cuts: nothing lost, nothing twice",
    wanted=1,
    seconds=240,
    waits=True,
    place=partial(networked, 3, chaos=True),
)
def break_connections(cluster: Networked, trial: Trial) -> None:
    proxies = cluster.proxies
    before = [tell(proxy, "off") for proxy in proxies]
    began, cuts, jobs = time.monotonic(), 0, 0
    while cuts < 2000 and time.monotonic() < began + 200:
        for proxy in proxies:  # the first is the client's, to which most of what is sent goes
            tell(proxy, "on 200000" if proxy is proxies[0] else "on 10000")
        job = Job.submit(cluster.client, Graph.random(trial.random, 300, 0.002, 2000), cluster.trace())
        try:
            job.check(trial, 90)
        finally:
            counts = [tell(proxy, "off") for proxy in proxies]
        cuts = sum(counts) - sum(before)
        jobs += 1
        if trial.broken:
            break
    trial.figure("cuts", cuts, "")
    trial.figure("tasks", jobs * 300, "")


# ---- C10: who does not read ----------------------------------------------------------------------------------------

#: A client that asks for much, and then does not read: it says when all is on its way.
GREEDY = """
import sys
from myscheduler import Client
from tests.faults.links import chunk
client = Client(scheduler_file=sys.argv[1], set_as_default=False)
futures = client.map(chunk, range(40_000))
print("begun", flush=True)
client.gather(futures)
"""
#: Rounds in which it reads for a while and does not for a while, and the seconds of each.
ROUNDS, WINDOW_S = 6, 2.0
#: What may wait for it: values of so many bytes, twice, as they are kept and encoded; and what there is to say without them.
HELD_MB = 2 * VALUES_BYTES_MAX / 1e6 + 60


def chunk(number: int) -> bytes:
    """Small enough to be sent along with the news that it is there. Takes a while, so that there is more of it for a minute."""
    time.sleep(0.003)
    return bytes(10_000)


@row(
    "C10",
    "a client stops reading while 400 MB are on their way to it",
    f"no more than {HELD_MB:.0f} MB wait for it, and it is disconnected after 30 s; others' p99 changes by less than 10 %",
    wanted=2,
    seconds=150,
    place=partial(by_hand, 2),
)
def stop_reading(place: tuple[ByHand, Cluster], trial: Trial) -> None:
    commands, cluster = place
    with talker([sys.executable, "-c", GREEDY, commands.file], stderr=subprocess.DEVNULL) as greedy:
        greedy.hear("begun")
        pid = greedy.process.pid
        clients = cluster.info()["clients"]
        _compare_latencies(cluster, pid, trial)
        size = most = _memory(commands.scheduler.pid)
        observe.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        while cluster.info()["clients"] >= clients and time.monotonic() < stopped + 90:
            most = max(most, _memory(commands.scheduler.pid))
            time.sleep(0.05)
        # The 30 s begin when the system takes nothing more for it.
        trial.within("disconnected after", time.monotonic() - stopped, 35.0)
        trial.within("the scheduler grew by", (most - size) / 1e6, HELD_MB)
        trial.figure("the scheduler grew by", (most - size) / 1e6, "MB")


def _compare_latencies(cluster: Cluster, pid: int, trial: Trial) -> None:
    """Ask while results go to a process that reads them, and while it does not, in turns."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for stopped in found:
            observe.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)
            time.sleep(0.5)  # until it has read what waited
            found[stopped].append(_latency(cluster, WINDOW_S))
    observe.kill(pid, signal.SIGCONT)
    reads, stops = statistics.median(found[False]), statistics.median(found[True])
    # What the machine does beside it makes windows of the same kind differ as well.
    noise = max((max(windows) - min(windows)) / statistics.median(windows) for windows in found.values())
    trial.figure("others' p99 while it reads", reads * 1000, "ms")
    trial.figure("while it does not", stops * 1000, "ms")
    trial.figure("windows of one kind differ by", 100 * noise, "%")
    trial.expect(stops <= reads * (1.1 + noise), f"others' p99 grew from {reads * 1000:.2f} to {stops * 1000:.2f} ms")


def _latency(cluster: Cluster, seconds: float) -> float:
    """The 99th percentile of questions."""
    times = []
    while sum(times) < seconds:
        began = time.monotonic()
        cluster.client.nthreads()
        times.append(time.monotonic() - began)
    return sorted(times)[len(times) * 99 // 100]


def _memory(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# ---- C11: somebody else --------------------------------------------------------------------------------------------


@row(
    "C11",
    "a worker dies, and a stranger takes its port",
    "the stranger cannot prove itself: nothing is sent to it",
    wanted=10,
    seconds=60,
    place=partial(by_hand, 1),
)
def stranger(place: tuple[ByHand, Cluster], trial: Trial) -> None:
    commands, cluster = place
    name = start_victim(commands, cluster, trial.number)
    secret = cluster.client.submit(blob, 200_000, workers=[name], allow_other_workers=True, pure=False)
    until(secret.done, what="the result")
    worker = cluster.by_name()[name]
    port = int(worker["address"].rpartition(":")[2])
    observe.kill(commands.scheduler.pid, signal.SIGSTOP)  # so that it cannot tell the client
    try:
        observe.kill(commands.keepers[name].pid)
        commands.keepers.pop(name).wait()
        until(lambda: not observe.runs(worker["pid"]), what="the end of the worker")
        heard: list[bytes] = []
        with _take(port) as listener:
            threading.Thread(target=_listen, args=(listener, heard, trial.number % 3), daemon=True).start()
            try:
                secret.result(timeout=3)
            except TimeoutError:
                pass
            else:
                trial.expect(False, "there was a result")
    finally:
        observe.kill(commands.scheduler.pid, signal.SIGCONT)
    trial.figure("bytes that the stranger heard", sum(map(len, heard)), "")
    trial.expect(heard, "nobody asked the stranger")
    trial.expect(sum(map(len, heard)) <= 1024, f"the stranger heard {sum(map(len, heard))} bytes")
    trial.expect(len(secret.result(timeout=30)) == 200_000, "another result")


def _take(port: int) -> socket.socket:
    """Listen on a port as soon as the system lets go of it."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _greeting() -> bytes:
    """How a worker of another cluster begins."""
    handshake = ServerHandshake(Credentials.generate(), None, os.urandom(32), role=Role.WORKER, incarnation="ab" * 8)
    return bytes(handshake.start())


def _listen(listener: socket.socket, heard: list[bytes], talks: int) -> None:
    """Accept connections, note what they say and repeat it; begin with nothing, with nonsense, or like a worker."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        heard.append(b"")
        with connection:
            connection.settimeout(5)
            try:
                if talks == 1:
                    connection.sendall(os.urandom(64))
                elif talks == 2:
                    connection.sendall(_greeting())
                while data := connection.recv(65536):
                    heard.append(data)
                    connection.sendall(data)
            except OSError:
                continue


# ---- C12: names ----------------------------------------------------------------------------------------------------

#: Connects by name on a loop, and measures how long that loop stands still; a worker as well.
BY_NAME = """
import asyncio, json, sys, time
from myscheduler import Client
from myscheduler.base.credentials import read_scheduler_file
from myscheduler.worker.server.worker import Worker

async def main():
    address, file = sys.argv[1:]
    credentials = read_scheduler_file(file).credentials
    longest, ended = 0.0, asyncio.Event()
    async def tick():
        nonlocal longest
        while not ended.is_set():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began - 0.01)
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.5)
    longest, began = 0.0, time.monotonic()
    worker = Worker(address, credentials=credentials, nthreads=1, death_timeout=60)
    starting = asyncio.create_task(worker.start())
    client = Client(address, credentials=file, asynchronous=True, timeout=60)
    async def note():
        await asyncio.sleep(15.0)  # while nobody answers
        return longest
    noting = asyncio.create_task(note())
    async with client:
        connected = time.monotonic() - began
        await starting
        result = await client.submit(pow, 2, 10)
        print(json.dumps([await noting, connected, result]), flush=True)
        await worker.close()
    ended.set()
    await ticking

asyncio.run(main())
"""


@row(
    "C12",
    "the name server does not answer for 20 s",
    "the loops of client and worker never stand still for more than 100 ms; they connect once it does",
    wanted=3,
    seconds=120,
    lanes=3,
    waits=True,
)
def no_names(place: None, trial: Trial) -> None:
    with ExitStack() as stack:
        folder, token = stack.enter_context(workshop())
        hosts = stack.enter_context(Hosts(2))
        stack.callback(lambda: observe.end_all(observe.marked(token)))
        etc = Path("/etc/netns") / hosts.name(2)
        etc.mkdir(parents=True)
        (etc / "hosts").write_text("127.0.0.1 localhost\n")
        (etc / "resolv.conf").write_text("nameserver 10.77.0.99\n")
        commands = ByHand(folder, hosts.address(1), hosts.inside(1))
        stack.callback(commands.close)
        address = json.loads(commands.file.read_text())["address"].replace(hosts.address(1), "scheduler.test")
        command = [*hosts.inside(2), "nice", "-n", "-10", sys.executable, "-c", BY_NAME, address, str(commands.file)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, process_group=0)
        began = looked = time.monotonic()
        pause = 0.0  # the longest that this machine made this process wait, which does not ask for any name
        while looked < began + 20.0:
            time.sleep(0.01)
            before, looked = looked, time.monotonic()
            pause = max(pause, looked - before - 0.01)
        trial.expect(process.poll() is None, "it ended while there was no name server")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{hosts.address(1)} scheduler.test\n")
        output, _ = process.communicate(timeout=60)
        longest, connected, result = json.loads(output)
        trial.expect(result == 1024, f"the result is {result}")
        trial.within("longest stand-still", longest, 0.1 + pause)
        trial.figure("of this process beside it", pause)
        trial.figure("connected after", connected)
        trial.within("ended after", time.monotonic() - began, 60.0)
