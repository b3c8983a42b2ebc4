"""Has a task become dearer? ``make bench-check``, or ``python -m benchmarks.check``.

Counts what client, scheduler and worker do for a task: bytecodes, calls of functions written in C, and bytes sent. These are
the same in every run, however busy the machine is, and depend on nothing but the program and Python's minor version. They are
compared with ``results/check.json``; whoever makes a task dearer knowingly writes new figures with ``--record``, and says why.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from . import parts
from .parts import PARTS, Trio
from .workloads.base import inc

RECORDED = Path(__file__).parent / "results" / "check.json"
TASKS = 2_048
#: Percent by which a count may grow. A microsecond is about a hundred bytecodes: five percent of the scheduler's.
TOLERANCE = 2.0
COUNTS = ("bytecodes", "C calls", "bytes sent")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

Counts = dict[str, dict[str, float]]


class Counter:
    """Counts while a part has its turn."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {part: dict.fromkeys(COUNTS, 0) for part in PARTS}
        self.counting = False
        self._bytecodes = self._calls = 0

    @contextmanager
    def turn(self, part: str) -> Iterator[None]:
        """Around what ``part`` does."""
        if not self.counting:
            yield
            return
        self._bytecodes = self._calls = 0
        tracer, profiler = sys.gettrace(), sys.getprofile()
        sys.settrace(self._trace)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.settrace(tracer)
            sys.setprofile(profiler)
            self.counts[part]["bytecodes"] += self._bytecodes
            self.counts[part]["C calls"] += self._calls

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        del event, arg
        if frame.f_code.co_filename == parts.__file__:
            return None  # stands for threads and sockets
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._count

    def _count(self, frame: FrameType, event: str, arg: Any) -> Any:
        del frame, arg
        if event == "opcode":
            self._bytecodes += 1
        return self._count

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        del arg
        if event == "c_call" and frame.f_code.co_filename != parts.__file__:
            self._calls += 1


def count(tasks: int = TASKS) -> Counts:
    """What each part does per task, in a map of no-ops in a cluster that has warmed up."""
    counter = Counter()
    trio = Trio(counter.turn)
    try:
        trio.map(inc, range(1_000))
        sent = trio.bytes_sent()
        gc.collect()
        gc.disable()  # what is collected when is no part's doing
        counter.counting = True
        values = trio.map(inc, range(tasks))
        counter.counting = False
        assert values == list(range(1, tasks + 1))
        for part, nbytes in trio.bytes_sent().items():
            counter.counts[part]["bytes sent"] = nbytes - sent[part]
    finally:
        gc.enable()
        trio.close()
    return {part: {name: round(n / tasks, 2) for name, n in found.items()} for part, found in counter.counts.items()}


def compare(recorded: Counts, found: Counts) -> list[str]:
    """What has become dearer, in words."""
    worse = []
    for part, names in recorded.items():
        for name, before in names.items():
            now = found[part][name]
            percent = (now / before - 1) * 100
            if percent > TOLERANCE:
                worse.append(f"{part}: {name} per task have grown by {percent:.1f} %, from {before:g} to {now:g}")
    return worse


def table(recorded: Counts | None, found: Counts) -> str:
    """All counts, with those that were recorded."""
    lines = [f"{'per task':<12}" + "".join(f"{name:>24}" for name in COUNTS)]
    for part, names in found.items():
        cells = []
        for name, now in names.items():
            before = f" (was {recorded[part][name]:,.1f})" if recorded else ""
            cells.append(f"{now:,.1f}{before}".rjust(24))
        lines.append(f"{part:<12}{''.join(cells)}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and compare; 1 if something has become dearer, 2 if there is nothing to compare with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the counts down as what is to be")
    parser.add_argument("--file", type=Path, default=RECORDED, help="where they are written down")
    options = parser.parse_args(arguments)
    everything: dict[str, Counts] = (
        json.loads(options.file.read_text(encoding="utf-8")) if options.file.exists() else {}
    )
    recorded = everything.get(VERSION)
    found = count()
    print(table(recorded, found))
    if options.record:
        everything[VERSION] = found
        options.file.write_text(json.dumps(everything, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print(f"recorded for Python {VERSION} in {options.file}")
        return 0
    if recorded is None:
        known = ", ".join(sorted(everything)) or "none"
        print(f"nothing is recorded for Python {VERSION} (only {known}): run --record on the version to compare with")
        return 2
    worse = compare(recorded, found)
    for line in worse:
        print(line)
    print(
        "dearer than recorded; if that is worth it: --record"
        if worse
        else f"no part is more than {TOLERANCE:g} % dearer"
    )
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
