"""Work whose results are known beforehand, and that leaves a trace of every run: who ran what, and when.

Workers import this module; the trace is a file to which each run appends one line, so it shows runs whose results never
came as well.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from myscheduler import Client, Future

    from .rows import Trial

MODULUS = 1_000_003


def value(number: int, inputs: Sequence[int]) -> int:
    """What a node of the graph is worth: depends on its number and, with their order, on its inputs."""
    total = number * 7919 + 1
    for item in inputs:
        total = (total * 31 + item) % MODULUS
    return total


def leave_trace(trace: str, number: int) -> None:
    """Append one line: the run of ``number`` begins in this process now."""
    descriptor = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{number} {os.getpid()} {time.time()}\n".encode())
    finally:
        os.close(descriptor)


def node(trace: str, number: int, seconds: float, padding: int, *inputs: tuple[int, bytes]) -> tuple[int, bytes]:
    """One node, as a worker runs it; ``padding`` bytes travel with its value."""
    leave_trace(trace, number)
    if seconds:
        time.sleep(seconds)
    return value(number, [item for item, _ in inputs]), bytes(padding)


@dataclass(frozen=True)
class Run:
    """One line of the trace."""

    number: int
    pid: int
    at: float


def runs_in(trace: Path) -> list[Run]:
    """All runs so far, in the order in which they began."""
    if not trace.exists():
        return []
    lines = [line.split() for line in trace.read_text().splitlines()]
    return [Run(int(number), int(pid), float(at)) for number, pid, at in lines]


@dataclass
class Graph:
    """Nodes in an order in which each comes after its inputs."""

    inputs: list[list[int]]
    seconds: float
    padding: int = 0

    @classmethod
    def random(cls, random: Random, count: int, seconds: float, padding: int = 0) -> Graph:
        """A graph of ``count`` nodes, each with up to three of the twenty nodes before it as inputs."""
        inputs: list[list[int]] = []
        for number in range(count):
            nearest = range(max(0, number - 20), number)
            inputs.append(random.sample(nearest, min(len(nearest), random.choice((0, 0, 1, 2, 3)))))
        return cls(inputs, seconds, padding)

    @classmethod
    def flat(cls, count: int, seconds: float, padding: int = 0) -> Graph:
        """Nodes that know nothing of each other."""
        return cls([[] for _ in range(count)], seconds, padding)

    def evaluate(self) -> list[int]:
        """What each node is worth, found by one process that cannot fail."""
        values: list[int] = []
        for number, inputs in enumerate(self.inputs):
            values.append(value(number, [values[index] for index in inputs]))
        return values


@dataclass
class Job:
    """A graph that has been submitted, and every outcome that was seen."""

    client: Client
    graph: Graph
    trace: Path
    futures: list[Future[Any]]
    outcomes: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def submit(cls, client: Client, graph: Graph, trace: Path, **options: Any) -> Job:
        """Have a client submit a graph, and keep a future of each node."""
        job = cls(client, graph, trace, [])
        for number, inputs in enumerate(graph.inputs):
            parts = [job.futures[index] for index in inputs]
            future = client.submit(node, str(trace), number, graph.seconds, graph.padding, *parts, **options)
            future.add_done_callback(partial(job._settled, number))
            job.futures.append(future)
        return job

    def _settled(self, number: int, future: object) -> None:
        self.outcomes[number] += 1

    def check(self, trial: Trial, timeout: float) -> None:
        """Wait for all; count what was lost and what came twice, and compare with what one process finds."""
        end = time.monotonic() + timeout
        wrong: list[str] = []
        for number, (future, expected) in enumerate(zip(self.futures, self.graph.evaluate(), strict=True)):
            try:
                found, _ = future.result(timeout=max(0.01, end - time.monotonic()))
            except (TimeoutError, LateError):
                trial.lost += 1
                wrong.append(
                    f"task {number} has no outcome ({future.status}). {self._explain(future) if not wrong else ''}"
                )
            except Exception as error:
                trial.lost += 1
                wrong.append(f"task {number}: {type(error).__name__}: {error}")
            else:
                trial.expect(found == expected, f"task {number} is {found}, not {expected}")
        twice = [number for number, count in self.outcomes.items() if count > 1]
        trial.duplicated += len(twice)
        trial.expect(not wrong, f"{len(wrong)} of {len(self.futures)} tasks lost, for example {wrong[:1]}")
        trial.expect(not twice, f"tasks {twice[:5]} had more than one outcome")

    def _explain(self, future: Future[Any]) -> str:
        try:
            return self.client.explain(future)
        except Exception as error:
            return f"No explanation: {type(error).__name__}: {error}"

    def runs(self) -> dict[int, list[Run]]:
        """The runs of each task that ran."""
        found: dict[int, list[Run]] = defaultdict(list)
        for run in runs_in(self.trace):
            found[run.number].append(run)
        return found

    def expect_repeats_only_of(self, trial: Trial, pids: Sequence[int]) -> None:
        """What ran more than once was lost: each run but the last was in one of these processes."""
        needless = [
            number
            for number, found in self.runs().items()
            if any(run.pid not in pids for run in sorted(found, key=lambda run: run.at)[:-1])
        ]
        trial.expect(not needless, f"tasks {needless[:5]} ran again though no worker that ran them was lost")
