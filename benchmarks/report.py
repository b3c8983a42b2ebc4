"""Measurements as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from .workloads import WORKLOADS, Metric

if TYPE_CHECKING:
    from .compare import Measurements

OURS = "myscheduler"


def metrics() -> dict[str, Metric]:
    """All metrics by name, in the order of the workloads."""
    return {name: metric for workload in WORKLOADS.values() for name, metric in workload.metrics.items()}


def format_number(value: float) -> str:
    """Three digits that matter.

    >>> [format_number(value) for value in (0.01234, 1.5, 34.56, 12345.6)]
    ['0.0123', '1.50', '34.6', '12,346']
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def times_better(metric: Metric, ours: float, theirs: float) -> float:
    """How many times better our figure is than theirs; below 1 it is worse.

    >>> times_better(Metric("map", "tasks/s", more_is_better=True), 2000, 500)
    4.0
    >>> times_better(Metric("latency", "ms"), 2, 1)
    0.5
    """
    better, worse = (ours, theirs) if metric.more_is_better else (theirs, ours)
    return better / worse if worse > 0 else float("inf")


def as_table(found: Measurements) -> str:
    """Medians, one row per metric; behind the others' figures how many times better ours is."""
    rows = [["", *found.systems]]
    for name, metric in metrics().items():
        if name not in found.values:
            continue
        row = [f"{metric.title} [{metric.unit}]"]
        ours = found.values[name].get(OURS)
        for system in found.systems:
            values = found.values[name].get(system)
            cell = format_number(median(values)) if values else "-"
            if values and ours and system != OURS:
                cell += f" ({format_number(times_better(metric, median(ours), median(values)))}x)"
            row.append(cell)
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        row[0].ljust(widths[0])
        + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    for workload, reasons in found.missing.items():
        lines += [f"{workload}: {reason}" for reason in reasons.values()]
    lines.append(f"medians of {found.repeats}; (x): how many times better {OURS} is; {machine()}")
    if found.scale != 1:
        lines.append(f"sizes scaled by {found.scale}: for trying out, not for comparing")
    return "\n".join(lines)


def as_json(found: Measurements) -> str:
    """Every single value, with what is needed to judge it."""
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": found.versions,
        "repeats": found.repeats,
        "scale": found.scale,
        "metrics": {
            name: {
                "title": metric.title,
                "unit": metric.unit,
                "more_is_better": metric.more_is_better,
                "systems": {
                    system: {"median": median(values), "values": values}
                    for system, values in found.values[name].items()
                },
            }
            for name, metric in metrics().items()
            if name in found.values
        },
        "missing": found.missing,
    }
    return json.dumps(document, indent=2) + "\n"


def machine() -> str:
    """What it ran on."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
