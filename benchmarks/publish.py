"""Put what was measured into the documentation: ``python -m benchmarks.publish`` after ``python -m benchmarks.compare``.

Writes the table of docs/performance.md from benchmarks/results/compare.json, so that no figure is typed by hand.
"""

from __future__ import annotations

import json
from typing import Any

from . import tables
from .report import OURS, format_number, metrics, times_better

RESULTS = tables.RESULTS / "compare.json"
PAGE = tables.PAGE


def table(results: dict[str, Any]) -> str:
    """One line per metric: our median with its range, the others' medians, and how many times better ours is."""
    others = {system: version for system, version in results["versions"].items() if system != OURS}
    heads = ["`futures`" if system == "futures" else f"{system} {version}" for system, version in others.items()]
    lines = [f"| | unit | {OURS} | {' | '.join(heads)} | runs |", f"|---|---|---|{'---|' * len(heads)}---|"]
    for name, row in results["metrics"].items():
        ours = row["systems"][OURS]
        least, most = (format_number(end(ours["values"])) for end in (min, max))
        cells = [row["title"], row["unit"], f"**{format_number(ours['median'])}** ({least} to {most})"]
        for system in others:
            theirs = row["systems"].get(system)
            if theirs is None:
                cells.append("-")
            else:
                ratio = times_better(metrics()[name], ours["median"], theirs["median"])
                cells.append(f"{format_number(theirs['median'])} ({format_number(ratio)}x)")
        lines.append(f"| {' | '.join(cells)} | {len(ours['values'])} |")
    day = results["date"].partition("T")[0]
    ending = f"Medians of as many runs as said, in brackets the least and the most, or how many times better {OURS} is."
    return "\n".join([*lines, "", f"{ending} {results['machine']}, {day}."]) + "\n"


def with_table(page: str, results: dict[str, Any]) -> str:
    """The page with its table replaced by a new one."""
    return tables.replaced(page, "figures", table(results))


if __name__ == "__main__":
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
