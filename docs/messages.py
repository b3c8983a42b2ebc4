"""Writes the table of messages in protocol.md from the declarations in protocol/messages.py."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from myscheduler.protocol import messages

PAGE = Path(__file__).with_name("protocol.md")
BEGIN, END = "<!-- messages: begin -->\n", "<!-- messages: end -->\n"


def table() -> str:
    """One line per message: number, name, who may send it, and the comment at its declaration."""
    notes: dict[str, str] = {}
    comment: list[str] = []
    for line in inspect.getsource(messages).splitlines():
        if line.startswith("#: "):
            comment.append(line[3:].strip())
        elif found := re.match(r"([A-Z_]+): Final = \d+$", line):
            notes[found[1]] = " ".join(comment)
            comment = []
        else:
            comment = []
    lines = ["| op | name | from | fields and meaning |", "|---|---|---|---|"]
    for op, spec in messages.SPECS.items():
        senders = "any" if len(spec.senders) == len(messages.Role) else ", ".join(sorted(spec.senders))
        lines.append(f"| {op} | {spec.name} | {senders} | {notes[spec.name].replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with its table replaced by a new one."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
