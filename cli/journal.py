"""``myscheduler journal``: save what has happened at a scheduler, and play it again."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any, Final

import click

from ..base.credentials import SchedulerFile, find_cluster
from ..base.errors import UsageError
from ..base.keys import Key
from ..base.limits import MIB
from ..base.units import parse_seconds
from ..client.api.journal import save_journal
from ..deploy.control import ControlLink
from ..deploy.scheduler_file import wait_for_scheduler_file
from ..scheduler.explain import explain
from ..scheduler.replay import Replay
from ..scheduler.state import FORGOTTEN, Status
from .common import exit_codes

_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_SETTINGS)
def journal() -> None:
    """Save what has happened at a scheduler during the last minutes, and play it again.

    \b
    Examples:
      myscheduler journal save -o journal          of the scheduler that you started last
      myscheduler journal replay journal           what happened, and whether the replay comes to the same
      myscheduler journal replay journal --until 12.5 --explain x --check
    """  # noqa: D301  # click wants the character \b itself


@journal.command(context_settings=_SETTINGS)
@click.argument("address", required=False)
@click.option(
    "--scheduler-file",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="What `myscheduler --scheduler-file` wrote: address and credentials.",
)
@click.option(
    "-o", "--output", metavar="FILE", required=True, type=click.Path(dir_okay=False), help="Where to write the journal."
)
def save(address: str | None, scheduler_file: str | None, output: str) -> None:
    """Save the journal of the scheduler at ADDRESS; by default, of the one that you started last on this machine.

    The file holds keys, addresses, sizes and times, but no functions, arguments or results, and of errors only the names of
    their classes. Only you can read it.
    """
    with exit_codes():
        if scheduler_file is None:
            scheduler = find_cluster(address)
        else:
            scheduler = wait_for_scheduler_file(scheduler_file, address)
        asyncio.run(_save(scheduler, output))
        click.echo(f"The journal is in {output}. What happened: myscheduler journal replay {output}")


async def _save(scheduler: SchedulerFile, output: str) -> None:
    control = await ControlLink.open(scheduler.address, scheduler.credentials)
    try:
        await save_journal(control.call, output)
    finally:
        control.close("the journal is saved")
        await control.wait_closed()


@journal.command(context_settings=_SETTINGS)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--until", metavar="TIME", help="Stop so long after the first turn, like '12.5' or '2 min'.")
@click.option(
    "--explain",
    "keys",
    metavar="KEY",
    multiple=True,
    help="Say about a task why it is where it is at the end. For keys that are no text, JSON: '[\"x\", 0]'. Repeatable.",
)
@click.option("--check", is_flag=True, help="Recompute all indexes of the tables after each turn, which takes long.")
def replay(file: str, until: str | None, keys: tuple[str, ...], check: bool) -> None:
    """Give the scheduler's machine once more what it was given, and say what it came to.

    Ends with an error if that is not what the scheduler came to.
    """
    with exit_codes():
        end = parse_seconds(until)
        played = Replay(_read(file))
        for seconds in played:
            if check:
                played.check()
            if end is not None and seconds >= end:
                break
        click.echo(summary(played))
        for key in keys:
            click.echo(explain(played.machine.core, parse_key(key)))


def parse_key(text: str) -> Key:
    """A key as it is written on the command line.

    Examples
    --------
    >>> parse_key("inc-1"), parse_key('["x", 0]')
    ('inc-1', ('x', 0))
    """

    if not text.startswith("["):
        return text
    try:
        key: Key = _to_key(json.loads(text))
    except ValueError as error:
        raise UsageError(f"--explain {text}: this is no JSON: {error}") from None
    return key


def _to_key(value: Any) -> Any:
    return tuple(map(_to_key, value)) if isinstance(value, list) else value


def summary(played: Replay) -> str:
    """What there is after the turns that were played."""
    core = played.machine.core
    tasks = ", ".join(
        f"{core.totals[status]} {status.name.lower()}"
        for status in Status
        if status is not FORGOTTEN and core.totals[status]
    )
    workers = ", ".join(f"{ws.name} ({ws.standing})" for ws in core.workers.values())
    verified = f"the same as then, {played.verified}" if played.verified else "not compared: stopped before the end"
    return "\n".join(
        [
            f"Kept by       myscheduler {played.version}",
            f"Turns         {played.played} of {played.turns}, in {played.seconds:.3f} s",
            f"Events        {played.events}, with {played.messages} messages",
            f"Tasks         {len(core.tasks)}" + (f": {tasks}" if tasks else ""),
            f"Workers       {len(core.workers)}" + (f": {workers}" if workers else ""),
            f"Clients       {len(core.clients)}",
            f"Replay        {verified}",
        ]
    )


def _read(path: str) -> Iterator[bytes]:
    try:
        with gzip.open(path) as file:
            while chunk := file.read(MIB):
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} is no journal that was saved whole: {error}") from error
