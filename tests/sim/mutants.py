"""``make mutants``: ways to break our own code, and how many seeds it takes until the simulator notices each.

Each mutant is a replacement in the source of one module, made while a child process imports it. A replacement that does not
fit the source any more is an error, so mutants do not rot unseen.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOUND, SURVIVED = 3, 4


class Mutant(NamedTuple):
    """What is broken, where, and how: ``old`` occurs once in the module."""

    name: str
    module: str
    old: str
    new: str


_CURRENT = "if ts is None or ts.attempt != attempt or ts.status is not ASSIGNED or ts.worker is not ws:\n            "

MUTANTS = (
    Mutant(
        "believe results of any attempt",
        "scheduler.outcomes",
        _CURRENT + "core.settle(ws, key, attempt, has_data=True)",
        "if ts is None or ts.status is not ASSIGNED:\n            core.settle(ws, key, attempt, has_data=True)",
    ),
    Mutant(
        "believe in copies of any attempt",
        "scheduler.outcomes",
        "if ts is None or ts.status is not MEMORY or ts.attempt != attempt:",
        "if ts is None or ts.status is not MEMORY:",
    ),
    Mutant(
        "do not free refused data",
        "scheduler.core",
        "if has_data:\n            self.refuse(ws, key, attempt)",
        "assert ws",
    ),
    Mutant(
        "leave those alone that were to follow a run without result",
        "worker.tables",
        "self._forsaken.append(want)",
        "assert want",
    ),
    Mutant(
        "keep the slot of an abandoned run",
        "scheduler.core",
        "if given_up.slot:\n                ws.abandoned_slots -= 1",
        "if given_up.slot:\n                ws.abandoned_slots -= 0",
    ),
    Mutant(
        "keep the resources of an abandoned run",
        "scheduler.core",
        "given_up.requirement.give_back(ws)",
        "assert given_up",
    ),
    Mutant(
        "reuse an attempt", "scheduler.placement", "core.last_attempt += 1\n", "core.last_attempt += ts.kills == 0\n"
    ),
    Mutant(
        "let go of what is still needed",
        "scheduler.core",
        "if ts.wanted_by or ts.needed_by or status is FORGOTTEN:",
        "if ts.wanted_by or status is FORGOTTEN:",
    ),
    Mutant(
        "do not make lost data again that only other tasks need",
        "scheduler.membership",
        "            if not ts.holders:\n                core.lose(ts)",
        "            if not ts.holders and ts.wanted_by:\n                core.lose(ts)",
    ),
    Mutant(
        "forget the seceded runs of a dead worker",
        "scheduler.membership",
        "for ts in ws.runs():",
        "for ts in [*ws.assigned, *ws.following]:",
    ),
    Mutant(
        "lose a dependent",
        "scheduler.state",
        "                dep.dependents.append(ts)\n",
        "                dep.dependents[-1] = ts\n",
    ),
    Mutant(
        "forget a release",
        "scheduler.submission",
        "    tasks = core.tasks\n    for key in message[1]:",
        "    tasks = core.tasks\n    for key in message[1][1:]:",
    ),
    Mutant(
        "keep a half submitted graph of a dead client",
        "scheduler.submission",
        "    for arriving in client.arriving.values():\n        for ts in arriving.held:",
        "    for arriving in ():\n        for ts in arriving.held:",
    ),
    Mutant("cancel without a word", "scheduler.core", "self.row(client, CANCELLED, (ts.key, reason))", "assert reason"),
    Mutant(
        "do not ask others when a worker dies that was asked for values",
        "scheduler.relay",
        "self._ask(fetch, [key for key, _ in rows if key in fetch.open])\n            self._answer(fetch)",
        "assert rows",
    ),
    Mutant(
        "hold the scheduler's own absence against workers",
        "scheduler.liveness",
        "min(now - core.now, ATTENTION_S)",
        "now - core.now",
    ),
    Mutant("never give up a silent worker", "scheduler.liveness", "if silence >= LOST_AFTER_S:", "if silence >= 1e9:"),
    Mutant("retry for ever", "scheduler.core", "ts.retries -= 1", "ts.retries -= 0"),
    Mutant(
        "believe what a worker that came back does not have",
        "scheduler.inventory",
        "    _drop_absent(core, ws, absence)\n",
        "",
    ),
    Mutant(
        "leave a worker that came back with copies that nobody knows of",
        "scheduler.inventory",
        "        core.row(ws, FREE, (key, attempt))\n\n\ndef _was_given",
        "        assert key\n\n\ndef _was_given",
    ),
    Mutant(
        "forget what was freed while an inventory was settled",
        "scheduler.rejoin",
        "    absence.freed.update(dict.fromkeys(ws.unneeded))\n",
        "",
    ),
    Mutant(
        "free a newer copy than was asked for",
        "worker.machine",
        "            if held is not None and held[0] == attempt:\n                del self.data[key]",
        "            if held is not None:\n                del self.data[key]",
    ),
    Mutant(
        "do not answer for runs that nobody wants",
        "worker.machine",
        "self._reports[m.RECALLED] += unwanted",
        "assert unwanted",
    ),
    Mutant(
        "give up an input when there is another holder",
        "worker.machine",
        "and not self.fetches.failed(want, address)",
        "and self.fetches.failed(want, address)",
    ),
    Mutant(
        "keep a value that is to be dropped",
        "worker.store",
        "                    del entries[key]",
        "                    continue",
    ),
    Mutant(
        "take frames of another epoch or sender",
        "protocol.inbound",
        "if frame.sender != self._peer or (frame.epoch != epoch and frame.epoch and epoch):",
        "if not frame.sender:",
    ),
    Mutant(
        "take a frame twice", "protocol.inbound", "if frame.sequence != self._due:", "if frame.sequence > self._due:"
    ),
    Mutant("send again what has arrived", "protocol.stream", "del self._kept[:done]", "assert done >= 0"),
    Mutant(
        "count too few messages", "protocol.stream", "self.received = count\n", "self.received = count - (count > 9)\n"
    ),
    Mutant(
        "forget what was on its way when a link broke",
        "protocol.stream",
        "self._again = [*greeting, *rest[count - self._first :]]",
        "self._again = [*greeting]",
    ),
    Mutant(
        "never release what a dead client wants", "scheduler.sessions", "attended - since >= self.grace", "since < 0"
    ),
    Mutant(
        "do not answer who has come back",
        "scheduler.relay",
        "mine = [fetch for fetch in self.parked if fetch.client is client]",
        "mine: list[Fetch] = []",
    ),
)


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the source with the replacement."""

    mutant: Mutant

    def get_code(self, fullname: str) -> types.CodeType:
        source = Path(self.path).read_text()
        if source.count(self.mutant.old) != 1:
            raise SystemExit(f"{self.mutant.name!r} fits {source.count(self.mutant.old)} places of {fullname}")
        return compile(source.replace(self.mutant.old, self.mutant.new), self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != f"myscheduler.{self.mutant.module}":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None and spec.origin is not None
        loader = _Loader(fullname, spec.origin)
        loader.mutant = self.mutant
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)


def hunt(mutant: Mutant, seeds: int) -> int:
    """In a child process: run seeds with this mutant until one fails."""
    sys.meta_path.insert(0, _Finder(mutant))
    from myscheduler.sim import SimulationError, simulate

    for seed in range(seeds):
        try:
            simulate(seed)
        except SimulationError as error:
            print(f"{mutant.name}: found by {str(error).splitlines()[0]:.150}", flush=True)
            return FOUND
    print(f"{mutant.name}: not found in {seeds} seeds", flush=True)
    return SURVIVED


def is_found(index: int, seeds: int) -> bool:
    """Whether a mutant is found within so many seeds, in a process of its own."""
    command = [sys.executable, "-m", "tests.sim.mutants", "--mutant", str(index), "--seeds", str(seeds)]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code not in (FOUND, SURVIVED):
        raise SystemExit(f"mutant {index} ({MUTANTS[index].name}) could not be tried")
    return code == FOUND


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--mutant", type=int)
    parser.add_argument("--seeds", type=int, default=2000)
    arguments = parser.parse_args()
    if arguments.mutant is not None:
        return hunt(MUTANTS[arguments.mutant], arguments.seeds)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = sum(pool.map(lambda index: is_found(index, arguments.seeds), range(len(MUTANTS))))
    print(f"{found} of {len(MUTANTS)} mutants found")
    return 0 if found >= len(MUTANTS) - 1 else 1


if __name__ == "__main__":
    sys.exit(main())
