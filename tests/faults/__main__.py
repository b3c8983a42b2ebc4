"""``make faults ROWS=B1,C5 REPEATS=n``: break real processes and networks, and compare what happens with what was promised.

Rows that keep the processors busy run one after the other; then those that mostly wait, several side by side. What was
measured goes into ``results.json`` and from there into the documentation. Exits with 1 if a promise was broken. What this
machine cannot do is said and counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import groups, observe
from .publish import PAGE, RESULTS, Summary, machine, read_results, with_table, write_results
from .rows import Row, in_order

#: Lanes of rows that wait, side by side; more than processors, as they sleep. But each starts processes.
SIDE_BY_SIDE = 6
ROOT = Path(__file__).resolve().parents[2]


class Recorder:
    """Takes in what the lanes say, prints it, and adds it up."""

    def __init__(self) -> None:
        self.summaries: dict[str, Summary] = {}
        self._lock = threading.Lock()

    def take(self, row: Row, said: dict[str, Any]) -> bool:
        """One line of a lane; whether the promise was kept."""
        with self._lock:
            summary = self.summaries.setdefault(row.id, Summary())
            if "unavailable" in said:
                summary.unavailable = said["unavailable"]
                print(f"SKIPPED  {row.id}: {said['unavailable']}", flush=True)
                return False
            summary.add(said)
            word = "BROKEN  " if said["broken"] else "kept    "
            figures = ", ".join(
                f"{what} {value:.3g} {unit}".rstrip() for what, (value, unit, _) in said["figures"].items()
            )
            print(f"{word} {row.id} #{said['number']}: {figures or row.fault} ({said['seconds']:.1f} s)", flush=True)
            for text in said["broken"]:
                print("         " + text.replace("\n", "\n         "), flush=True)
            return not said["broken"]


def run_lane(row: Row, first: int, end: int, recorder: Recorder) -> None:
    """Repeats ``first`` to ``end``; a lane that fails is replaced by another, which goes on behind it, a few times."""
    deadline = time.monotonic() + row.seconds
    failures = 0
    while first < end and failures < 3 and (failures == 0 or time.monotonic() < deadline):
        last = first - 1
        for said in _lines_of_lane(row, first, end, deadline - time.monotonic()):
            kept = recorder.take(row, said)
            if "unavailable" in said:
                return
            last = max(last, said["number"])
            if not kept:
                failures += 1
        if failures == 0 or last < first:
            return
        first = last + 1


def _lines_of_lane(row: Row, first: int, end: int, seconds: float) -> Iterable[dict[str, Any]]:
    """What one process reports."""
    command = [sys.executable, "-m", "tests.faults.lane", row.id, "--numbers", str(first), str(end)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*command, "--seconds", str(seconds)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            process_group=0,
        )
        assert process.stdout is not None
        failed, number = False, first
        with process.stdout:
            for line in process.stdout:
                with suppress(ValueError):  # what tasks print goes there as well
                    said = json.loads(line)
                    failed = failed or bool(said.get("broken"))
                    number = said.get("number", number - 1) + 1
                    yield said
        code = process.wait()
        if code and not failed:
            failed = True
            text = f"the process of this repeat ended with code {code}, or hung"
            yield {"number": number, "figures": {}, "lost": 0, "duplicated": 0, "broken": [text], "seconds": 0.0}
        if failed:
            errors.seek(0)
            print("".join(f"    | {line}" for line in errors.read().splitlines(keepends=True)[-60:]), flush=True)


def run(rows: list[Row], repeats: int | None, recorder: Recorder) -> None:
    """All rows: first what keeps the machine busy, then what waits."""
    for row in rows:
        if not row.waits:
            _run_side_by_side(lanes_of(row, repeats), row.lanes, recorder)
    waiting = [lane for row in rows if row.waits for lane in lanes_of(row, repeats)]
    # The longest first, so that the last ones are short.
    waiting.sort(key=lambda lane: -lane[0].seconds)
    _run_side_by_side(waiting, SIDE_BY_SIDE, recorder)


def lanes_of(row: Row, repeats: int | None) -> list[tuple[Row, int, int]]:
    """The repeats of a row, shared out among its lanes."""
    count = row.repeats if repeats is None else repeats
    lanes = max(1, min(row.lanes, count))
    bounds = [count * lane // lanes for lane in range(lanes + 1)]
    return [(row, first, end) for first, end in pairwise(bounds)]


def _run_side_by_side(lanes: list[tuple[Row, int, int]], width: int, recorder: Recorder) -> None:
    with ThreadPoolExecutor(width) as pool:
        for future in [pool.submit(run_lane, *lane, recorder) for lane in lanes]:
            future.result()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--rows", default="all", help="ids like B1,C5, a letter for a group, or all")
    parser.add_argument("--repeats", type=int, help="of each row, instead of its own number")
    parser.add_argument("--no-record", action="store_true", help="leave the results and the documentation as they are")
    arguments = parser.parse_args()
    rows = choose(arguments.rows)
    token = observe.mark()
    load = os.getloadavg()[0]
    began = time.monotonic()
    recorder = Recorder()
    try:
        run(rows, arguments.repeats, recorder)
    finally:
        left = observe.marked(token)
        observe.end_all(left)
    broken = [id for id, summary in recorder.summaries.items() if summary.broken]
    skipped = [id for id, summary in recorder.summaries.items() if summary.unavailable]
    print(f"\n{'row':4} {'repeats':>12} {'broken':>6} {'lost':>5} {'twice':>5}  worst")
    for row in rows:
        summary = recorder.summaries.get(row.id, Summary())
        counted = f"{summary.repeats} of {row.wanted}"
        print(
            f"{row.id:4} {counted:>12} {summary.failed:>6} {summary.lost:>5} {summary.duplicated:>5}  "
            f"{summary.unavailable or summary.worst}"
        )
    seconds = time.monotonic() - began
    print(
        f"\n{len(rows)} rows in {seconds:.0f} s: {len(rows) - len(broken) - len(skipped)} kept, {len(broken)} broken"
        f"{' (' + ', '.join(broken) + ')' if broken else ''}, {len(skipped)} SKIPPED"
        f"{' (' + ', '.join(skipped) + ')' if skipped else ''}"
    )
    if left:
        print(f"{len(left)} processes were left behind and have been killed")
    if not arguments.no_record:
        write_results(
            read_results() | {id: summary.to_dict(machine(load)) for id, summary in recorder.summaries.items()}
        )
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), read_results()), encoding="utf-8")
        print(f"recorded in {RESULTS.relative_to(ROOT)} and {PAGE.relative_to(ROOT)}")
    return 1 if broken or left else 0


def choose(text: str) -> list[Row]:
    """The rows that are meant.

    Raises
    ------
    SystemExit
        There is no such row.
    """
    assert groups
    if text == "all":
        return in_order()
    chosen = []
    for name in text.replace(",", " ").split():
        found = [row for row in in_order() if row.id == name or (len(name) == 1 and row.id.startswith(name))]
        if not found:
            raise SystemExit(
                f"make faults: there is no row {name!r}; there are {', '.join(row.id for row in in_order())}"
            )
        chosen += found
    return chosen


if __name__ == "__main__":
    sys.exit(main())
