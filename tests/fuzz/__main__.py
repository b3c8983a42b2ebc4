"""Fuzz all targets in turn: ``python -m tests.fuzz --seconds 60``, or ``make fuzz SECONDS=60``.

With atheris installed the fuzzer is guided by coverage, and what it has learnt is kept in ``build/fuzz`` for the next time.
Without, cases are mutated blindly. A case that fails is written to ``build/fuzz``; ``--replay TARGET FILE`` runs it again.
``--keep`` replaces the cases in ``tests/fuzz/corpus`` by the smallest of what was learnt.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import time
import traceback
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzz import seeds
from tests.fuzz.guided import MEASURED_EVERY
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import LIMITS, TARGETS, check_memory
from tests.support.repository import ROOT

BUILD: Final = ROOT / "build" / "fuzz"
#: Of what was learnt, so much is kept for good.
KEPT_CASES: Final = 30
KEPT_BYTES_MAX: Final = 400
_COVERAGE: Final = re.compile(r"(?m)^#\d+\s+(?:INITED|DONE|NEW|REDUCE|pulse)\s+cov: (\d+) ft: (\d+)")
_EXECUTED: Final = re.compile(r"stat::number_of_executed_units: (\d+)")


class Outcome(NamedTuple):
    """What came of one target."""

    cases: int
    seconds: float
    coverage: str
    crash: str | None


def guided(name: str, seconds: float) -> Outcome:
    """Under atheris, in a process of its own."""
    corpus = BUILD / name
    corpus.mkdir(parents=True, exist_ok=True)
    for case, data in seeds.load(name).items():
        (corpus / case).write_bytes(data)
    begun = time.monotonic()
    options = (
        f"-max_total_time={seconds:.0f}",
        "-max_len=4096",
        "-print_final_stats=1",
        "-timeout=10",
        "-rss_limit_mb=2048",
    )
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.guided",
        name,
        *options,
        f"-artifact_prefix={BUILD}/{name}-",
        str(corpus),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    found = _COVERAGE.findall(ended.stderr)
    coverage = (
        f"{found[0][0]} -> {found[-1][0]} edges, {found[0][1]} -> {found[-1][1]} features" if found else "unknown"
    )
    executed = _EXECUTED.search(ended.stderr)
    crash = None if ended.returncode == 0 else (ended.stdout + ended.stderr)[-4000:]
    return Outcome(int(executed[1]) if executed else 0, time.monotonic() - begun, coverage, crash)


def blind(name: str, seconds: float) -> Outcome:
    """With our own mutations, in this process."""
    begun = time.monotonic()
    mutator = Mutator(list(seeds.load(name).values()), time.time_ns())
    for number in count(1):
        data = mutator.next()
        try:
            TARGETS[name](data)
            if name in LIMITS and not number % MEASURED_EVERY:
                check_memory(name, data)
        except Exception:
            BUILD.mkdir(parents=True, exist_ok=True)
            file = BUILD / f"{name}-crash"
            file.write_bytes(data)
            return Outcome(number, time.monotonic() - begun, "not measured", f"{traceback.format_exc()}\n{file}")
        if time.monotonic() - begun > seconds:
            return Outcome(number, time.monotonic() - begun, "not measured", None)
    raise AssertionError("count() ends")


def keep(name: str) -> None:
    """Take a few small cases over into the corpus, evenly from all sizes."""
    cases = sorted((file.read_bytes() for file in (BUILD / name).iterdir()), key=len)
    small = [data for data in cases if len(data) <= KEPT_BYTES_MAX]
    seeds.keep(name, small[:: max(1, len(small) // KEPT_CASES)][:KEPT_CASES])


def replay(name: str, file: str) -> None:
    """Run one case."""
    data = Path(file).read_bytes()
    TARGETS[name](data)
    if name in LIMITS:
        check_memory(name, data)
    print(f"{name}: {len(data)} bytes, nothing wrong")


def main() -> None:
    """Fuzz; exit code 1 if a case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--blind", action="store_true", help="do not use atheris")
    parser.add_argument("--keep", action="store_true", help="write what was learnt into the corpus, and end")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"), help="run one case again")
    options = parser.parse_args()
    if options.replay:
        replay(*options.replay)
        return
    if options.keep:
        for name in TARGETS:
            keep(name)
        return
    use_atheris = not options.blind and importlib.util.find_spec("atheris") is not None
    print("guided by coverage (atheris)" if use_atheris else "blind: atheris is not installed or not wanted")
    names, total, crashes = options.target or list(TARGETS), 0, 0
    for name in names:
        outcome = (guided if use_atheris else blind)(name, options.seconds / len(names))
        total += outcome.cases
        crashes += outcome.crash is not None
        rate = outcome.cases / outcome.seconds
        print(f"{name:18} {outcome.cases:>11,} cases {rate:>9,.0f}/s  {outcome.coverage}", flush=True)
        if outcome.crash is not None:
            print(f"CRASH in {name}:\n{outcome.crash}", flush=True)
    print(f"{'all':18} {total:>11,} cases, {crashes} crashes")
    sys.exit(crashes > 0)


if __name__ == "__main__":
    main()
