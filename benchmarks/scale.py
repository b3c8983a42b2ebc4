"""What a task costs the scheduler with ten workers and with ten thousand: ``python -m benchmarks.scale``.

The unmodified machine in virtual time, see ``crowd``; figures are microseconds of processor time, or bytes. Each measurement
runs in a process of its own, sizes take turns, and medians count. Writes benchmarks/results/scale.json and .svg, and the table
in docs/performance.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from myscheduler.scheduler.core import FREE_AFTER_S

from .crowd import LONG_S, Crowd, Graph
from .curves import Panel, draw
from .report import format_number, machine
from .tables import PAGE, RESULTS, replaced

#: Tasks per measurement, about: as many for ten workers as for ten thousand.
TASKS = 100_000
#: Tasks of a map that have as many measurements together at least.
SOME = 20_000
#: Rounds in which as many tasks come and go, and how many of them are for warming up.
ROUNDS, WARM = 12, 4


# ---- graphs ---------------------------------------------------------------------------------------------------------


def flat(count: int, name: str = "map") -> Graph:
    """Tasks without inputs."""
    return ((f"{name}-{number}", ()) for number in range(count))


def tree(leaves: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Sums by pairs, depth first, as the static order has it; the last one is the root."""
    pending: list[tuple[int, str]] = []
    for number in range(leaves):
        yield (key := f"leaf-{number}"), ()
        height = 0
        while pending and pending[-1][0] == height:
            inputs = (pending.pop()[1], key)
            height += 1
            yield (key := f"sum-{height}-{number}"), inputs
        pending.append((height, key))


def shuffle(side: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """All to all: each part is split, each output needs a piece of every part."""
    for part in range(side):
        yield f"part-{part}", ()
        for output in range(side):
            yield f"split-{part}-{output}", (f"part-{part}",)
    for output in range(side):
        yield f"merge-{output}", tuple(f"split-{part}-{output}" for part in range(side))


def chain(count: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each needs the one before."""
    for number in range(count):
        yield f"link-{number}", (f"link-{number - 1}",) if number else ()


# ---- measurements ---------------------------------------------------------------------------------------------------


def run(crowd: Crowd, graph: Graph, wanted: list[str] | None) -> float:
    """Submit, run, release; microseconds per task."""
    begin, done = crowd.spent_ns, crowd.done
    if wanted is None:
        rows = list(graph)
        graph, wanted = rows, [key for key, _ in rows]
    crowd.submit(graph, wanted)
    crowd.settle()
    crowd.release(wanted)
    crowd.rest(2 * FREE_AFTER_S)  # until all workers have been told
    core = crowd.machine.core
    if core.tasks or any(ws.assigned or ws.stored for ws in core.workers.values()):
        raise AssertionError("something is left")
    return (crowd.spent_ns - begin) / 1e3 / (crowd.done - done)


def warmed_up(workers: int, seconds: float = LONG_S) -> Crowd:
    """Workers each of which has been sent a function before. What they are made of has been looked through for garbage."""
    crowd = Crowd(workers, seconds)
    run(crowd, flat(workers + 100), None)
    gc.collect()
    return crowd


def in_batches(workers: int, scale: float) -> float:
    """A map of no-ops, which workers are sent in hundreds."""
    return run(warmed_up(workers, 10e-6), flat(int(2 * TASKS * scale)), None)


def one_by_one(workers: int, scale: float) -> float:
    """A map of tasks long enough to be sent and answered one by one."""
    return run(warmed_up(workers), flat(int(TASKS * scale)), None)


def trees(workers: int, scale: float) -> float:
    """A tree of sums by pairs."""
    crowd = warmed_up(workers)
    graph = list(tree(1 << max(int(TASKS * scale) // 2, 2).bit_length()))
    return run(crowd, graph, [graph[-1][0]])


def shuffles(workers: int, scale: float) -> float:
    """An all-to-all shuffle."""
    crowd = warmed_up(workers)
    side = max(int((TASKS * scale) ** 0.5), 2)
    return run(crowd, shuffle(side), [f"merge-{output}" for output in range(side)])


def chains(workers: int, scale: float) -> float:
    """One task at a time, all other workers idle."""
    crowd = warmed_up(workers)
    count = max(int(TASKS / 10 * scale), 2)
    return run(crowd, chain(count), [f"link-{count - 1}"])


def broadcasts(workers: int, scale: float) -> float:
    """A map over one input, which every worker has to fetch."""
    crowd = warmed_up(workers)
    graph = [("data", ()), *((f"use-{number}", ("data",)) for number in range(int(TASKS * scale)))]
    return run(crowd, graph, [key for key, _ in graph])


def resting(workers: int, scale: float) -> float:
    """Microseconds per worker and second while nothing happens."""
    crowd = Crowd(workers)
    seconds = max(4000 / workers, 1.0) * scale
    begin = crowd.spent_ns
    crowd.rest(seconds)
    return (crowd.spent_ns - begin) / 1e3 / workers / seconds


def joining(workers: int, scale: float) -> float:
    """Microseconds per worker that joins."""
    return Crowd(workers).spent_ns / 1e3 / workers


def queued(count: int, scale: float) -> float:
    """A map of which so many tasks are queued at once, with ten workers."""
    crowd = Crowd(10)
    size = max(int(count * scale), 10)
    return sum(run(crowd, flat(size), None) for _ in range(max(SOME // count, 1))) / max(SOME // count, 1)


def kept(count: int, scale: float) -> float:
    """Bytes of resident memory per task while so many wait for workers."""
    crowd = Crowd(0)
    before = _resident()
    size = max(int(count * scale), 10)
    crowd.submit(flat(size))
    crowd.settle()
    return (_resident() - before) / size


def left(count: int, scale: float) -> float:
    """Resident memory after so many tasks have come and gone, as often as it takes, against the time when it had settled."""
    crowd = Crowd(10)
    settled = 0
    for number in range(ROUNDS):
        if number == WARM:
            settled = _resident()
        run(crowd, flat(max(int(count * scale), 10), f"map{number}"), None)
    return _resident() / settled


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


WORKERS = (10, 100, 1_000, 10_000)
QUEUED = (1_000, 10_000, 100_000, 1_000_000)
#: By name: how it is measured, at which sizes, in which unit, and what the sizes are of.
MEASURES: dict[str, tuple[Callable[[int, float], float], tuple[int, ...], str, str]] = {
    "map, one by one": (one_by_one, WORKERS, "us per task", "workers"),
    "map, in batches": (in_batches, WORKERS, "us per task", "workers"),
    "tree": (trees, WORKERS, "us per task", "workers"),
    "chain": (chains, WORKERS, "us per task", "workers"),
    "shuffle": (shuffles, WORKERS, "us per task", "workers"),
    "broadcast": (broadcasts, WORKERS, "us per task", "workers"),
    "heartbeats": (resting, WORKERS, "us per worker and second", "workers"),
    "joining": (joining, WORKERS, "us per worker", "workers"),
    "queued": (queued, QUEUED, "us per task", "tasks"),
    "kept": (kept, QUEUED[1:], "bytes per task", "tasks"),
    "left": (left, QUEUED[:3], "times", "tasks"),
}
PANELS = (
    Panel("Processor time per task", "us", "workers", ("map, one by one", "map, in batches", "tree", "chain")),
    Panel("Processor time per task whose inputs move", "us", "workers", ("shuffle", "broadcast")),
    Panel("Processor time per task of a map", "us", "tasks queued at once", ("queued",)),
    Panel("Memory per queued task", "bytes", "tasks queued at once", ("kept",)),
)


def measure(name: str, size: int, scale: float) -> float:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", name, "--size", str(size), "--scale", str(scale)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def collect(names: Sequence[str], repeats: int, scale: float, most: int) -> dict[str, Any]:
    """All values, by measurement and size."""
    values: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for repeat in range(repeats):
        for name in names:
            for size in (size for size in MEASURES[name][1] if size <= most):
                values[name].setdefault(str(size), []).append(measure(name, size, scale))
                print(
                    f"[{repeat + 1}/{repeats}] {name:<16} {size:>9,} {values[name][str(size)][-1]:10.2f}",
                    file=sys.stderr,
                )
    return {"machine": machine(), "repeats": repeats, "scale": scale, "values": values}


def points(found: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Medians, by measurement."""
    return {
        name: [(float(size), median(values)) for size, values in sizes.items()]
        for name, sizes in found["values"].items()
    }


def table(found: dict[str, Any]) -> str:
    """Medians, one table for each kind of size, with the largest size against the smallest."""
    parts = []
    for of, sizes in (("workers", WORKERS), ("tasks", QUEUED)):
        rows = {name: dict(row) for name, row in points(found).items() if row and MEASURES[name][3] == of}
        lines = [f"| {of} | unit | {' | '.join(f'{size:,}' for size in sizes)} | most / least |", "|---" * 7 + "|"]
        for name, row in rows.items():
            cells = [format_number(row[size]) if size in row else "-" for size in sizes]
            ratio = row[max(row)] / row[min(row)]
            lines.append(f"| {name} | {MEASURES[name][2]} | {' | '.join(cells)} | {ratio:.2f} |")
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, f"Medians of {found['repeats']}. {found['machine']}."]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), default=list(MEASURES), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most", type=int, default=QUEUED[-1], help="no size beyond this")
    parser.add_argument("--scale", type=float, default=1.0, help="tasks, compared with what counts")
    parser.add_argument("--output", type=Path, help="folder for scale.json and scale.svg instead of the documentation")
    parser.add_argument("--one", choices=list(MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        print(MEASURES[options.one][0](options.size, options.scale))
        return
    found = collect(options.only, options.repeats, options.scale, options.most)
    output = options.output or RESULTS
    output.mkdir(parents=True, exist_ok=True)
    (output / "scale.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (output / "scale.svg").write_text(draw("What a task costs the scheduler", PANELS, points(found)), encoding="utf-8")
    print(table(found))
    if options.output is None:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), "scale", table(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
