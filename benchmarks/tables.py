"""Where measured figures go: the results, and the tables of docs/performance.md, so that no figure is typed by hand."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"


def replaced(page: str, name: str, table: str) -> str:
    r"""The page with the table of this name replaced.

    >>> replaced("a<!-- x: begin -->\nold<!-- x: end -->\nb", "x", "new\n")
    'a<!-- x: begin -->\nnew\n<!-- x: end -->\nb'
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{table}{end}{after}"
