"""Draws the state diagrams of docs/design.md from the tables that the machines obey: ``python docs/diagrams.py``."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from myscheduler.client import records
from myscheduler.scheduler import state as scheduler_state
from myscheduler.worker import state as worker_state

PAGE = Path(__file__).parent / "design.md"


def _name(state: object) -> str:
    return state.lower() if isinstance(state, str) else str(getattr(state, "name", state)).lower()


def mermaid(moves: Mapping[object, Sequence[object]]) -> str:
    """A table of moves as a Mermaid state diagram; the first state is where it begins."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {_name(next(iter(moves)))}"]
    for state, targets in moves.items():
        lines += [f"    {_name(state)} --> {_name(target)}" for target in targets]
        if not targets:
            lines.append(f"    {_name(state)} --> [*]")
    return "\n".join([*lines, "```"])


DIAGRAMS: dict[str, str] = {
    "scheduler": mermaid(scheduler_state.MOVES),  # type: ignore[arg-type]
    "worker": mermaid(worker_state.MOVES),  # type: ignore[arg-type]
    "client": mermaid(records.MOVES),  # type: ignore[arg-type]
}


def redraw(text: str) -> str:
    """The page with every diagram replaced by what the tables say now."""
    for name, diagram in DIAGRAMS.items():
        begin, end = f"<!-- diagram: {name} -->", "<!-- end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{PAGE.name} has no place for the diagram {name!r}: {begin} ... {end}")
        text = pattern.sub(lambda _: f"{begin}\n{diagram}\n{end}", text)  # noqa: B023  # used at once
    return text


if __name__ == "__main__":
    page = PAGE.read_text()
    PAGE.write_text(redraw(page))
    sys.stdout.write(f"{len(DIAGRAMS)} diagrams in {PAGE.name}\n")
