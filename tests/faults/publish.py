"""Put what was measured into the documentation: ``python -m tests.faults.publish``; ``make faults`` does so at its end.

Writes the table of docs/reliability.md from tests/faults/results.json, so that no figure is typed by hand.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .rows import in_order

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->\n", "<!-- faults: end -->\n"


@dataclass
class Summary:
    """What all repeats of one row gave."""

    repeats: int = 0
    failed: int = 0
    lost: int = 0
    duplicated: int = 0
    #: by what was measured: the worst value, its unit, and which end of the scale is the worst
    figures: dict[str, tuple[float, str, str]] = field(default_factory=dict)
    #: the first few ways in which the promise was broken
    broken: list[str] = field(default_factory=list)
    unavailable: str = ""

    def add(self, said: dict[str, Any]) -> None:
        """Take in one repeat."""
        self.repeats += 1
        self.lost += said["lost"]
        self.duplicated += said["duplicated"]
        for what, (value, unit, worst) in said["figures"].items():
            known = self.figures.get(what)
            choose = min if worst == "least" else max
            self.figures[what] = (value if known is None else choose(value, known[0]), unit, worst)
        if said["broken"]:
            self.failed += 1
            self.broken += [text.splitlines()[0][:200] for text in said["broken"]]
            del self.broken[3:]

    @property
    def worst(self) -> str:
        """The figures in words."""
        return ", ".join(f"{what} {_number(value)} {unit}".rstrip() for what, (value, unit, _) in self.figures.items())

    def to_dict(self, where: str) -> dict[str, Any]:
        """As JSON."""
        return {
            "repeats": self.repeats,
            "failed": self.failed,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "figures": {what: list(figure) for what, figure in self.figures.items()},
            "broken": self.broken,
            "unavailable": self.unavailable,
            "where": where,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Summary:
        """From JSON."""
        fields = {name: value for name, value in data.items() if name != "where"}
        fields["figures"] = {what: tuple(figure) for what, figure in data["figures"].items()}
        return cls(**fields)


def machine(load: float) -> str:
    """Where and when something is measured, and whether the machine did anything else."""
    cores = os.cpu_count() or 1
    shared = ", shared with other programs" if load > cores / 2 else ""
    day = dt.datetime.now(dt.UTC).date().isoformat()
    return f"{day}, {cores} cores{shared}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def read_results() -> dict[str, Any]:
    """By row."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return found


def write_results(results: dict[str, Any]) -> None:
    """In the order of the table."""
    ordered = {row.id: results[row.id] for row in in_order() if row.id in results}
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def table(results: dict[str, Any]) -> str:
    """One line per row: the fault, the promise, what was measured, what distributed does."""
    lines = ["| | fault | promise | measured | distributed |", "|---|---|---|---|---|"]
    places: dict[str, list[str]] = {}
    for row in in_order():
        if row.id not in results:
            continue
        summary = Summary.from_dict(results[row.id])
        cells = [row.id, row.fault, row.promise, _measured(summary, row.wanted), row.theirs or "-"]
        lines.append(f"| {' | '.join(cells)} |")
        places.setdefault(results[row.id]["where"], []).append(row.id)
    notes = [f"{', '.join(ids)}: {where}." for where, ids in places.items()]
    if len(notes) == 1:
        notes = [f"{next(iter(places))}."]
    return "\n".join([*lines, "", "Measured " + " ".join(notes)]) + "\n"


def _measured(summary: Summary, wanted: int) -> str:
    if summary.unavailable:
        return f"**not measured**: {summary.unavailable}"
    verdict = "kept" if not summary.failed else f"**broken {summary.failed} times** ({summary.broken[0]})"
    repeats = f"{summary.repeats} repeats" if summary.repeats != 1 else "1 repeat"
    fewer = f" of the {wanted} wanted" if summary.repeats < wanted else ""
    counts = f"{summary.lost} lost, {summary.duplicated} twice"
    return "; ".join(part for part in (f"{verdict}, {repeats}{fewer}", summary.worst, counts) if part)


def _number(value: float) -> str:
    if value == int(value):
        return str(int(value))
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_table(page: str, results: dict[str, Any]) -> str:
    """The page with its table replaced by a new one."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table(results)}{END}{after}"


if __name__ == "__main__":
    from . import groups

    assert groups
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), read_results()), encoding="utf-8")
