"""What both commands share: options that are read the same way, exit codes, signals, files."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from ..base.errors import (
    AuthenticationError,
    ClusterError,
    ConnectionFailedError,
    MySchedulerError,
    UsageError,
    VersionMismatchError,
)
from ..base.version import VERSION
from ..deploy import exits
from ..deploy.sockets import PortInUseError, interface_address, is_loopback

F = TypeVar("F", bound=Callable[..., Any])

#: Printed at the end of both commands' help.
EXIT_CODES_HELP = """\b
Exit codes:
  0  closed as asked (SIGINT, SIGTERM, by a client, idle)
  1  a bug of ours; the traceback is printed
  2  wrong options
  3  the scheduler cannot be reached, or was lost
  4  the port is taken
  5  the scheduler refused the credentials, the version or the name
"""

PLAINTEXT_WARNING = (
    "WARNING: {what} can be reached from other machines. Who connects must prove a secret, but what is sent is not "
    "encrypted: whoever can listen in on this network can read it and change it. Use this in networks you trust only."
)


def print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Callback of ``--version``."""
    if value and not context.resilient_parsing:
        click.echo(f"myscheduler {VERSION}, Python {platform.python_version()}")
        context.exit()


def version_option(command: F) -> F:
    """``--version``; asked for before anything else is read."""
    decorate = click.option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=print_version,
        help="Show the versions of myscheduler and Python.",
    )
    return decorate(command)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn errors into one line for humans and an exit code for scripts."""
    try:
        yield
    except PortInUseError as error:
        fail(str(error), exits.PORT_TAKEN)
    except UsageError as error:
        fail(str(error), exits.REFUSED if isinstance(error, VersionMismatchError) else exits.USAGE)
    except AuthenticationError as error:
        fail(str(error), exits.REFUSED)
    except (ConnectionFailedError, ClusterError) as error:
        fail(str(error), exits.UNREACHABLE)
    except MySchedulerError as error:
        fail(str(error), exits.INTERNAL)


def fail(text: str, code: int) -> NoReturn:
    """End with one line on stderr."""
    click.echo(f"Error: {text}", err=True)
    sys.exit(code)


def choose_host(host: str | None, interface: str | None, default: str) -> str:
    """The address to listen on, from ``--host`` or ``--interface``."""
    if host is not None and interface is not None:
        raise UsageError("give --host or --interface, not both")
    if interface is not None:
        return interface_address(interface)
    return default if host is None else host


def warn_of_plaintext(host: str, what: str) -> None:
    """Say, at every start, that other machines can reach something that is not encrypted."""
    if not is_loopback(host):
        click.echo(PLAINTEXT_WARNING.format(what=what), err=True)


def parse_resources(text: str | None) -> dict[str, float]:
    """``"GPU=2,MEM=1e9"`` as a dict; blanks may stand instead of commas.

    Examples
    --------
    >>> parse_resources("GPU=2, DISK=0.5")
    {'GPU': 2.0, 'DISK': 0.5}
    >>> parse_resources("GPU")
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.UsageError: resource 'GPU': write NAME=AMOUNT with an amount above 0, like 'GPU=2'
    """
    resources = {}
    for item in (text or "").replace(",", " ").split():
        name, _, amount = item.partition("=")
        try:
            number = float(amount)
        except ValueError:
            number = 0.0
        if not name or not 0 < number < float("inf"):
            raise UsageError(f"resource {item!r}: write NAME=AMOUNT with an amount above 0, like 'GPU=2'")
        resources[name] = number
    return resources


@contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Hold a file with our process id while the block runs."""
    if path is None:
        yield
        return
    target = Path(path)
    try:
        target.write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        raise UsageError(f"cannot write --pid-file {path}: {error.strerror}") from None
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            target.unlink()


def stop_signal() -> asyncio.Future[str]:
    """A future that is done at the first SIGINT or SIGTERM from now on; a later one ends the process as it would others.

    Later means after a second: terminals and process managers may deliver one wish twice.

    Returns
    -------
    Future of str
        The reason, for people.
    """
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[str] = loop.create_future()
    first: list[float] = []

    def handle(number: signal.Signals) -> None:
        if not first:
            first.append(loop.time())
            stopping.set_result(f"{number.name} received")
        elif loop.time() > first[0] + 1.0:
            loop.remove_signal_handler(number)
            os.kill(os.getpid(), number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handle, number)
    return stopping


def configure_logging(level: str) -> None:
    """Log to stderr, with time and place."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%d %H:%M:%S"
    )
