"""Measure several schedulers side by side: ``python -m benchmarks.compare``.

Every measurement runs in a process of its own. Systems take turns within each workload, so that a busy minute of the
machine hits all of them; the whole is repeated, and medians are reported. A system that is not installed is skipped.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .chart import draw
from .report import as_json, as_table
from .systems import KNOWN, installed
from .workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TIMEOUT_S = 900.0
#: Installed packages come with their bytecode, a checkout gets it by being used: it shall count for nobody's start.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(slots=True)
class Measurements:
    """Everything that was measured in one run of this program."""

    systems: list[str]
    scale: float
    repeats: int
    #: metric name -> system -> one value per repeat
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    #: workload name -> system -> why there is no figure
    missing: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def add(self, workload: str, system: str, outcome: dict[str, object]) -> None:
        """Take the outcome of one measurement in."""
        figures = outcome.get("figures")
        if isinstance(figures, dict):
            self.versions[system] = str(outcome["version"])
            for metric, value in figures.items():
                self.values.setdefault(metric, {}).setdefault(system, []).append(value)
        else:
            reason = str(outcome.get("unsupported") or outcome.get("failed"))
            self.missing.setdefault(workload, {})[system] = reason

    def keep(self, earlier: dict[str, Any]) -> None:
        """Take over what an earlier run has measured and this one has not, if it is of the same size and the same systems."""
        if (earlier["scale"], earlier["versions"]) != (self.scale, self.versions):
            return
        for metric, row in earlier["metrics"].items():
            if metric not in self.values:
                self.values[metric] = {system: found["values"] for system, found in row["systems"].items()}
        self.missing = earlier["missing"] | self.missing


def measure(system: str, workload: str, scale: float) -> dict[str, object]:
    """One measurement in a process of its own, with all its descendants ended afterwards."""
    command = [sys.executable, "-m", "benchmarks.run_one", system, workload, str(scale)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {TIMEOUT_S:.0f} s"}
    finally:
        _end_group(process.pid)
    lines = output.strip().splitlines()
    if process.returncode != 0 or not lines:
        return {"failed": (errors.strip().splitlines() or ["no output"])[-1]}
    outcome: dict[str, object] = json.loads(lines[-1])
    return outcome


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return  # everybody left by himself, as it should be


def turns(systems: Sequence[str], workloads: Sequence[str], repeats: int) -> Iterator[tuple[int, str, str]]:
    """Who is measured when: (repeat, workload, system). Each repeat begins with another system."""
    for repeat in range(repeats):
        shift = repeat % len(systems)
        for workload in workloads:
            for system in (*systems[shift:], *systems[:shift]):
                yield repeat, workload, system


def run(systems: Sequence[str], workloads: Sequence[str], repeats: int, scale: float) -> Measurements:
    """Measure everything, saying on stderr what is going on."""
    found = Measurements(list(systems), scale, repeats)
    for package in ROOT.glob("*/__init__.py"):
        compileall.compile_dir(package.parent, quiet=2)
    for repeat, workload, system in turns(systems, workloads, repeats):
        if system in found.missing.get(workload, {}):
            continue
        print(f"[{repeat + 1}/{repeats}] {workload:<10} {system:<12} ", end="", file=sys.stderr, flush=True)
        outcome = measure(system, workload, scale)
        found.add(workload, system, outcome)
        print(outcome.get("figures") or outcome.get("unsupported") or outcome.get("failed"), file=sys.stderr)
    return found


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--systems", nargs="+", choices=list(KNOWN), default=list(KNOWN), metavar="SYSTEM")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, once: does everything run?")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for compare.json and compare.svg")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the files."""
    options = parse(arguments)
    systems = [name for name in options.systems if installed(name)]
    for name in set(options.systems) - set(systems):
        print(f"skipped: {name} is not installed", file=sys.stderr)
    if not systems:
        return 1
    found = run(systems, options.only, 1 if options.quick else options.repeats, 0.1 if options.quick else 1.0)
    print(as_table(found))
    options.output.mkdir(parents=True, exist_ok=True)
    results = options.output / "compare.json"
    if results.exists():
        found.keep(json.loads(results.read_text(encoding="utf-8")))
    results.write_text(as_json(found), encoding="utf-8")
    (options.output / "compare.svg").write_text(draw(found), encoding="utf-8")
    print(f"\nwritten: {results}, {options.output / 'compare.svg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
