"""How well tasks are placed, compared with simpler policies: ``python -m benchmarks.placement``.

Virtual time, see ``stage``: eight workers of two threads. Writes benchmarks/results/placement.json and .svg, and the tables
in docs/performance.md. Nothing is random: the same program gives the same figures everywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from .graphs import CASES, CHUNK, array_sum
from .paired import draw
from .policies import CLAIRVOYANT, OURS, POLICIES
from .stage import Case, Outcome, Stage
from .tables import PAGE, RESULTS, replaced

WORKERS, THREADS = 8, 2
#: Chunks of a map that is reduced, whose memory must not depend on them.
GROWING = (100, 1_000, 10_000)

Found = dict[str, dict[str, Outcome]]


def compare(cases: Sequence[Case], policies: Sequence[str]) -> dict[str, Outcome]:
    """One graph, or the mean of several, under several policies."""
    return {name: _mean([Stage(case, POLICIES[name](), WORKERS, THREADS).run() for case in cases]) for name in policies}


def _mean(outcomes: Sequence[Outcome]) -> Outcome:
    makespan = mean(outcome.makespan for outcome in outcomes)
    return Outcome(makespan, *(round(mean(values)) for values in zip(*(o[1:] for o in outcomes), strict=True)))


def against_best(outcomes: dict[str, Outcome], field: str, left_out: str = "") -> float:
    """Ours in relation to the best of all policies, or of all but one."""
    values = {name: getattr(outcome, field) for name, outcome in outcomes.items() if name != left_out}
    return float(values[OURS] / min(values.values()))


def table(found: Found) -> str:
    """Makespan and most bytes held, per graph and policy; then ours against the best of each, with and without foresight."""
    names = list(POLICIES)
    columns = ["seconds; MB at most", *names, "against the best", f"with the {CLAIRVOYANT}"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for case, outcomes in found.items():
        cells = [f"{o.makespan:.2f}; {o.total_bytes / 1e6:,.0f}" for o in (outcomes[name] for name in names)]
        for left_out in (CLAIRVOYANT, ""):
            fields = ("makespan", "total_bytes")
            cells.append("; ".join(f"{against_best(outcomes, field, left_out):.2f}" for field in fields))
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(found: Found) -> str:
    """Both figures as bars, per graph and policy."""
    columns = ("seconds", "MB held at most")
    values = {
        case: {name: (o.makespan, o.total_bytes / 1e6) for name, o in outcomes.items()}
        for case, outcomes in found.items()
    }
    return draw("Where tasks run, by policy", columns, list(POLICIES), values)


def growth(found: dict[int, Outcome]) -> str:
    """How many chunks are held at once, in all and by one worker, while more and more are reduced."""
    lines = ["| chunks | held at most, in all | by one worker |", "|---|---|---|"]
    lines += [
        f"| {size:,} | {outcome.total_bytes / CHUNK:.1f} | {outcome.worker_bytes / CHUNK:.1f} |"
        for size, outcome in found.items()
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placement", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="GRAPH")
    parser.add_argument("--most", type=int, default=GROWING[-1], help="chunks of the growing map at most")
    parser.add_argument("--output", type=Path, help="folder for placement.json and .svg instead of the documentation")
    options = parser.parse_args(arguments)
    found: Found = {}
    for name in options.only:
        print(name, file=sys.stderr)
        found[name] = compare(CASES[name](), list(POLICIES))
    growing = {size: compare([array_sum(size)], [OURS])[OURS] for size in GROWING if size <= options.most}
    output = options.output or RESULTS
    output.mkdir(parents=True, exist_ok=True)
    document = {
        "graphs": {case: {name: o._asdict() for name, o in outcomes.items()} for case, outcomes in found.items()},
        "growing": {str(size): outcome._asdict() for size, outcome in growing.items()},
    }
    (output / "placement.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (output / "placement.svg").write_text(plot(found), encoding="utf-8")
    text = f"{table(found)}\n{growth(growing)}"
    print(text)
    if options.output is None:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), "placement", text), encoding="utf-8")


if __name__ == "__main__":
    main()
