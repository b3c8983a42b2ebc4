"""Clusters to break: one that a program owns, and ones that are started by hand with the commands, on one host or several."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from myscheduler import Client, LocalCluster
from myscheduler.base.errors import ClusterError, MySchedulerError

from . import observe
from .rows import Trial, until

ROOT = Path(__file__).resolve().parents[2]
#: Seconds for things that must happen, but of which nobody said when.
PATIENCE_S = 60.0


class Cluster:
    """What both kinds have: a client, a folder, and views of the workers as the scheduler sees them."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self._traces = 0

    def trace(self) -> Path:
        """A new file for the trace of a job."""
        self._traces += 1
        return self.folder / f"trace-{self._traces}"

    def info(self) -> dict[str, Any]:
        """What the scheduler says of itself."""
        info: dict[str, Any] = self.client.scheduler_info()
        return info

    def workers(self) -> dict[int, dict[str, Any]]:
        """What the scheduler says of its workers, by process id."""
        return {worker["pid"]: worker for worker in self.info()["workers"].values()}

    def pids(self) -> list[int]:
        """Processes of the workers that the scheduler knows."""
        return list(self.workers())

    def by_name(self) -> dict[str, dict[str, Any]]:
        """The same by name."""
        return {worker["name"]: worker for worker in self.info()["workers"].values()}

    def status(self, name: str) -> str:
        """What the scheduler thinks of a worker; one that it does not know is lost."""
        return str(self.by_name().get(name, {"status": "lost"})["status"])

    def wait_for_workers(self, count: int, timeout: float = PATIENCE_S) -> None:
        """Wait until so many workers are there and well."""
        until(
            lambda: sum(worker["status"] == "running" for worker in self.workers().values()) >= count,
            timeout,
            0.02,
            f"{count} workers",
        )

    def forget_all(self, timeout: float = 10.0) -> None:
        """Wait until the scheduler knows no task any more; the caller has let go of its futures."""
        until(lambda: self.info()["tasks"] == 0, timeout, what="an empty table of tasks")


class Leaks:
    """Descriptors of some processes that live on: there may not be more of them at the end."""

    #: Connections that are being closed, or kept for reuse, at the moment of the count.
    SLACK = 8

    def __init__(self) -> None:
        self._before: dict[int, int] = {}

    def look(self, trial: Trial, *pids: int) -> None:
        """Compare with the first look, after the first repeat."""
        for pid in pids:
            now = observe.descriptors(pid)
            before = self._before.setdefault(pid, now)
            trial.expect(
                now <= before + self.SLACK,
                f"{observe.command_line(pid)} has {now} descriptors open, it was {before} after the first repeat",
            )


class Owned(Cluster):
    """A ``LocalCluster`` of this process."""

    def __init__(self, cluster: LocalCluster, client: Client, folder: Path, token: str) -> None:
        super().__init__(client, folder)
        self.cluster = cluster
        self.token = token
        self.leaks = Leaks()

    @property
    def scheduler_pid(self) -> int:
        """The scheduler's process."""
        [pid] = [
            child.pid
            for child in psutil.Process().children()
            if "myscheduler.scheduler.server" in observe.command_line(child.pid)
        ]
        return pid

    def look_for_leaks(self, trial: Trial) -> None:
        """The scheduler and this process may not collect descriptors."""
        self.leaks.look(trial, os.getpid(), self.scheduler_pid)


@contextmanager
def workshop() -> Iterator[tuple[Path, str]]:
    """A folder, and the mark of all that is started from now on; both are gone in the end."""
    token = observe.mark()
    folder = Path(tempfile.mkdtemp(prefix="myscheduler-faults-"))
    try:
        yield folder, token
    finally:
        observe.end_all(observe.marked(token))
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def owned(workers: int, threads: int = 1, **options: Any) -> Iterator[Owned]:
    """A cluster that this process owns; nothing may be left of it."""
    with workshop() as (folder, token):
        with (
            LocalCluster(
                workers, threads, dashboard_address=None, memory_limit=None, silence_logs="CRITICAL", **options
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield Owned(cluster, client, folder, token)
        expect_nothing_left(token)


class Talker:
    """A program of ours that says line by line how far it is."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def hear(self, expected: str = "") -> str:
        """Wait for its next line.

        Raises
        ------
        RuntimeError
            It is another one.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line or (expected and line != expected):
            raise RuntimeError(f"a program said {line!r} instead of {expected or 'something'!r}")
        return line


@contextmanager
def talker(command: Sequence[Any], *, stdin: int = subprocess.DEVNULL, stderr: int | None = None) -> Iterator[Talker]:
    """Run a program of ours that says how far it is; it is killed in the end."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        process_group=0,
    )
    try:
        yield Talker(process)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def expect_nothing_left(token: str, timeout: float = 10.0, besides: Sequence[int] = ()) -> None:
    """Wait until all that was started is gone, but for some processes.

    Raises
    ------
    RuntimeError
        Something is left.
    """
    with suppress(TimeoutError):
        until(lambda: set(observe.marked(token)) <= set(besides), timeout, 0.05)
    left = [f"{pid} {observe.command_line(pid)}" for pid in observe.marked(token) if pid not in besides]
    if left:
        raise RuntimeError(f"processes are left behind: {left}")


class ByHand:
    """A scheduler and workers started with the commands, as a user does on one machine or several.

    Parameters
    ----------
    folder : Path
        For the scheduler file, the logs, and as home.
    host : str
        Where the scheduler listens.
    inside : list of str
        What to put before a command that runs where the scheduler does.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", inside: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.file = folder / "cluster.json"
        self.keepers: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = os.environ | {"HOME": str(folder)}
        self.scheduler = self._start(
            "scheduler",
            inside,
            *("myscheduler", "--no-dashboard", "--port", "0", "--host", host, "--scheduler-file", str(self.file)),
        )
        until(self.file.exists, PATIENCE_S, what="the scheduler file")

    def start_worker(self, name: str, *options: str, inside: tuple[str, ...] = (), threads: int = 1) -> None:
        """Run ``myworker``."""
        self.keepers[name] = self._start(
            name,
            inside,
            *("myworker", "--scheduler-file", str(self.file), "--name", name, "--nthreads", str(threads)),
            *("--memory-limit", "0", *options),
        )

    def _start(self, name: str, inside: tuple[str, ...], command: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*inside, str(Path(sys.executable).parent / command), *options],
                cwd=ROOT,  # where tasks find this module
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def connect(self, timeout: float = PATIENCE_S) -> Client:
        """A client from where this process is."""
        end = time.monotonic() + timeout
        while True:
            try:
                return Client(scheduler_file=self.file, set_as_default=False, timeout="20 s")
            except (ClusterError, MySchedulerError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def log(self, name: str) -> str:
        """What one of them wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        """End all, as Ctrl-C does; what does not end is killed."""
        processes = [*self.keepers.values(), self.scheduler]
        for process in processes:
            observe.kill(process.pid, signal.SIGCONT)
            observe.kill(process.pid, signal.SIGINT)
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def by_hand(workers: int, threads: int = 1) -> Iterator[tuple[ByHand, Cluster]]:
    """A cluster of commands on this host; nothing may be left of it."""
    with workshop() as (folder, token):
        commands = ByHand(folder)
        try:
            for index in range(workers):
                commands.start_worker(f"w{index}", threads=threads)
            with commands.connect() as client:
                cluster = Cluster(client, folder)
                cluster.wait_for_workers(workers)
                yield commands, cluster
        finally:
            commands.close()
        expect_nothing_left(token)


def start_victim(commands: ByHand, cluster: Cluster, number: int) -> str:
    """Start one more worker, to be killed, and wait for it; returns its name."""
    name = f"victim-{number}"
    commands.start_worker(name)
    until(lambda: cluster.status(name) == "running", what=f"worker {name}")
    return name
