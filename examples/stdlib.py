"""Read the Python standard library with a cluster on this machine: ``make demo-stdlib``.

Every module is parsed by a task of its own, which counts the kinds of syntax nodes and the imports. The counts are merged in
a tree, on the workers, so that only the final one travels back.
"""

from __future__ import annotations

import argparse
import ast
import sys
import sysconfig
import time
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from myscheduler import Client, Future

FAN_IN = 8
TINY_TASKS = 10_000


@dataclass
class Findings:
    """What is known about some modules. Findings of other modules can be added."""

    modules: int = 0
    lines: int = 0
    seconds: float = 0.0
    unreadable: int = 0
    nodes: Counter[str] = field(default_factory=Counter)
    imports: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)


def read_module(path: str, name: str) -> Findings:
    """One task: parse one module and count what is in it."""
    begin = time.perf_counter()
    found = Findings(modules=1)
    try:
        with tokenize.open(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = file.read()
            tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError):
        found.unreadable = 1  # the standard library's own tests hold such files
    else:
        found.lines = source.count("\n")
        found.nodes.update(type(node).__name__ for node in ast.walk(tree) if not isinstance(node, ast.expr_context))
        found.imports.update(set(imported_names(tree)))
        found.sizes[name] = found.nodes.total()
    found.seconds = time.perf_counter() - begin
    return found


def imported_names(tree: ast.AST) -> Iterator[str]:
    """The packages that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def merge(*parts: Findings) -> Findings:
    """One task: add up the findings of several others."""
    begin = time.perf_counter()
    total = Findings()
    for part in parts:
        total.modules += part.modules
        total.lines += part.lines
        total.seconds += part.seconds
        total.unreadable += part.unreadable
        total.nodes += part.nodes
        total.imports += part.imports
        total.sizes += part.sizes
    total.seconds += time.perf_counter() - begin
    return total


def increment(number: int) -> int:
    """A task with nothing to do: what remains is the scheduler."""
    return number + 1


def standard_library() -> list[tuple[str, str]]:
    """Path and name of every module, without its tests and without what was installed later."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not skipped.intersection(parts):
            found.append((str(path), ".".join(parts).removesuffix(".__init__")))
    return found


def read_all(client: Client) -> tuple[Findings, int]:
    """The findings of all modules, and how many tasks it took."""
    paths, names = zip(*standard_library(), strict=True)
    level: list[Future[Findings]] = client.map(read_module, paths, names)
    tasks = len(level)
    while len(level) > 1:
        groups = [level[start : start + FAN_IN] for start in range(0, len(level), FAN_IN)]
        level = [client.submit(merge, *group) for group in groups]
        tasks += len(level)
    return level[0].result(), tasks


# ---- telling --------------------------------------------------------------------------------------------------------


def columns(*tables: tuple[str, Counter[str]], rows: int = 8) -> Iterator[str]:
    """The most common entries of several counters, side by side."""
    cells = []
    for title, counter in tables:
        lines = [f"{name:<16.16}{count:>10,}" for name, count in counter.most_common(rows)]
        cells.append([f"{title:<26}", "-" * 26, *lines])
    for line in zip(*cells, strict=True):
        yield "  " + "   ".join(line)


def report(found: Findings, tasks: int, seconds: float, threads: int) -> None:
    """Print what was found and how long it took."""
    print(f"  modules      {found.modules:>12,}")
    print(f"  lines        {found.lines:>12,}")
    print(f"  syntax nodes {found.nodes.total():>12,}\n")
    for line in columns(("nodes", found.nodes), ("imported by modules", found.imports), ("largest", found.sizes)):
        print(line)
    busy = found.seconds / seconds
    print(f"\n  {tasks:,} tasks in {seconds:.2f} s, {tasks / seconds:,.0f} tasks/s")
    print(f"  they worked for {found.seconds:.2f} s in all: {busy:.2f} of {threads} threads were busy on average")


def main() -> int:
    """Start the cluster, read, tell."""
    parser = argparse.ArgumentParser(description="Read the standard library with a cluster on this machine.")
    parser.add_argument("--stay", action="store_true", help="keep cluster and dashboard until Ctrl-C")
    options = parser.parse_args()

    begin = time.perf_counter()
    with Client() as client:
        threads = client.nthreads()
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"Python {version}'s standard library, read by {len(threads)} workers", end=" ")
        print(f"with {sum(threads.values())} threads (started in {time.perf_counter() - begin:.2f} s)")
        print(f"Dashboard: {client.dashboard_link or 'none'}\n")

        begin = time.perf_counter()
        found, tasks = read_all(client)
        report(found, tasks, time.perf_counter() - begin, sum(threads.values()))

        begin = time.perf_counter()
        total = sum(client.gather(client.map(increment, range(TINY_TASKS))))
        seconds = time.perf_counter() - begin
        assert total == sum(range(1, TINY_TASKS + 1))
        print(
            f"  {TINY_TASKS:,} tiny tasks more, submit to gathered: {seconds:.2f} s, {TINY_TASKS / seconds:,.0f} tasks/s"
        )

        stay(options.stay)
    return 0


def stay(for_long: bool) -> None:
    """Leave some time to look at the dashboard."""
    if not for_long and not sys.stdout.isatty():
        return
    seconds = 86_400 if for_long else 3
    print("\n  " + ("Ctrl-C ends it." if for_long else f"The dashboard stays for {seconds} s; longer with --stay."))
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
