"""Writes the options in reference/commands.md from the commands themselves: ``python docs/commands.py``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click

from myscheduler.cli.journal import replay, save
from myscheduler.cli.scheduler import main as myscheduler
from myscheduler.cli.worker import main as myworker

PAGE = Path(__file__).with_name("reference") / "commands.md"
COMMANDS = {
    "myscheduler": myscheduler,
    "myscheduler journal save": save,
    "myscheduler journal replay": replay,
    "myworker": myworker,
}


def section(command: click.Command) -> str:
    """What a command does, its examples, and a table of its options."""
    text, _, examples = inspect.cleandoc(command.help or "").replace("\b\n", "").partition("Examples:\n")
    shown = re.sub(r"(?m)^  ", "", examples).rstrip()
    block = ["", "```text", *shown.splitlines(), "```"] if shown else []
    lines = [*text.strip().splitlines(), *block, "", "| option | meaning |", "|---|---|"]
    context = click.Context(command, info_name=command.name, **command.context_settings)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            lines.append(f"| {_code(record[0])} | {' '.join(record[1].split()).replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    # Inside a table a bar ends the cell, even in code.
    text = text.replace("INTEGER RANGE", "N")
    return f"`{text}`" if "|" not in text else f"<code>{text.replace('<', '&lt;').replace('|', '&#124;')}</code>"


def exit_codes() -> str:
    """The codes as a table."""
    rows = re.findall(r"(?m)^ +(\d+) +(.+)$", myscheduler.epilog or "")
    return "\n".join(["| code | meaning |", "|---|---|", *(f"| {code} | {meaning} |" for code, meaning in rows)]) + "\n"


def rewritten(page: str) -> str:
    """The page with everything between its marks written anew."""
    parts = {**{name: section(command) for name, command in COMMANDS.items()}, "exit codes": exit_codes()}
    for name, text in parts.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        before, mark, rest = page.partition(begin)
        _, second_mark, after = rest.partition(end)
        if not (mark and second_mark):
            raise SystemExit(f"{PAGE.name} has no place for {name!r}: {begin.strip()} ... {end.strip()}")
        page = before + begin + text + end + after
    return page


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
