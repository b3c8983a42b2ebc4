"""The figures in the documentation are those that were measured."""

from __future__ import annotations

import json

from benchmarks.publish import PAGE, RESULTS, table, with_table


def test_the_documentation_says_what_was_measured() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, results) == page, "run: python -m benchmarks.publish"
    assert results["scale"] == 1, "measured on small sizes, for trying out"


def test_tables_say_how_many_times_better() -> None:
    def systems(**values: list[float]) -> dict[str, object]:
        return {name: {"median": sorted(found)[len(found) // 2], "values": found} for name, found in values.items()}

    results = {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": "2 cores",
        "repeats": 3,
        "versions": {"ray": "2.0", "myscheduler": "1.0", "futures": "3.11"},
        "metrics": {
            "map": {"title": "a map", "unit": "tasks/s", "systems": systems(myscheduler=[300, 100, 200], ray=[50])},
            "latency": {"title": "one", "unit": "ms", "systems": systems(myscheduler=[2], ray=[1], futures=[0.5])},
        },
    }
    begin, end = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
    assert with_table(f"a{begin}old{end}b", results) == f"a{begin}{table(results)}{end}b"
    lines = table(results).splitlines()
    assert lines[0] == "| | unit | myscheduler | ray 2.0 | `futures` | runs |"
    assert lines[2] == "| a map | tasks/s | **200** (100 to 300) | 50.0 (4.00x) | - | 3 |"
    assert lines[3] == "| one | ms | **2.00** (2.00 to 2.00) | 1.00 (0.5x) | 0.5 (0.25x) | 1 |"
    assert lines[-1].endswith("or how many times better myscheduler is. 2 cores, 2026-01-02.")
