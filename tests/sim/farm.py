"""``make sim SEEDS=1000``: many seeds on all processors; what fails is named, and kept in the corpus for good."""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from myscheduler.base.system import cpu_count
from myscheduler.sim import Options, SimulationError, simulate
from myscheduler.sim.__main__ import command, format_faults, parse_faults

CORPUS = Path(__file__).with_name("corpus.txt")
CHUNK = 20


@dataclass
class Harvest:
    """What many seeds gave."""

    seeds: int = 0
    tasks: int = 0
    executed: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)

    def add(self, other: Harvest) -> None:
        self.seeds += other.seeds
        self.tasks += other.tasks
        self.executed += other.executed
        self.steps += other.steps
        self.virtual_s += other.virtual_s
        self.faults += other.faults
        self.failed |= other.failed


def run_chunk(job: tuple[range, Options]) -> Harvest:
    """Some seeds, in this process."""
    harvest = Harvest()
    seeds, options = job
    for seed in seeds:
        harvest.seeds += 1
        try:
            report = simulate(seed, options)
        except SimulationError as error:
            harvest.failed[seed] = str(error)
            continue
        harvest.tasks += report.tasks
        harvest.executed += report.executed
        harvest.steps += report.steps
        harvest.virtual_s += report.seconds
        harvest.faults.update(dict(report.faults))
    return harvest


def run(first: int, count: int, options: Options, jobs: int) -> Iterator[Harvest]:
    """Many seeds, in ``jobs`` processes; yields what has been done, as it is done."""
    end = first + count
    chunks = [(range(start, min(start + CHUNK, end)), options) for start in range(first, end, CHUNK)]
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:  # tells when a process dies
        for future in as_completed([pool.submit(run_chunk, chunk) for chunk in chunks]):
            yield future.result()


def corpus() -> list[tuple[int, Options]]:
    """The seeds that failed once."""
    lines = [line.partition("#")[0].split() for line in CORPUS.read_text().splitlines()]
    return [(int(line[0]), Options(parse_faults(line[1]))) for line in lines if line]


def commit() -> str:
    """What is tested, for the record."""
    result = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--faults")
    parser.add_argument("--jobs", type=int, default=cpu_count())
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    arguments = parser.parse_args()
    options = Options(parse_faults(arguments.faults))
    version = commit()  # of what is imported now; others may commit while this runs
    began = time.monotonic()
    total = Harvest()
    for harvest in run(arguments.first, arguments.seeds, options, arguments.jobs):
        total.add(harvest)
        for seed, text in harvest.failed.items():
            print(f"{text}\n  repeat it: {command(seed, options)}", flush=True)
            with arguments.corpus.open("a") as file:
                file.write(f"{seed} {format_faults(options.faults)}  # at {version}\n")
    seconds = time.monotonic() - began
    print(
        f"{total.seeds} seeds, {len(total.failed)} failed, commit {version}, faults {format_faults(options.faults)}\n"
        f"{total.seeds / seconds:.1f} seeds per second on {arguments.jobs} processors: {seconds:.0f} s, in which "
        f"{total.virtual_s:.0f} virtual seconds, {total.steps} events, {total.tasks} tasks, {total.executed} runs\n"
        + ", ".join(f"{name} {count}" for name, count in sorted(total.faults.items()))
    )
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
