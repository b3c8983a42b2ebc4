"""The command ``myworker``: workers for a scheduler, kept running by this process."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from ..base import config as configuration
from ..base.credentials import Credentials, SchedulerFile, find_cluster
from ..base.errors import MySchedulerError, UsageError
from ..base.system import cpu_count
from ..base.units import format_bytes, parse_seconds
from ..deploy import exits
from ..deploy.control import ControlLink
from ..deploy.keeper import Keeper
from ..deploy.process import ChildProcess
from ..deploy.processes import worker_process
from ..deploy.reporting import Reporter
from ..deploy.scheduler_file import wait_for_scheduler_file
from ..deploy.sizing import Sizing, size, split_cores
from ..deploy.sockets import address_towards, host_and_port, is_loopback, is_wildcard
from .common import (
    EXIT_CODES_HELP,
    choose_host,
    configure_logging,
    exit_codes,
    parse_resources,
    pid_file,
    stop_signal,
    version_option,
    warn_of_plaintext,
)

#: Seconds a worker may take to close.
GRACE_S = 10.0
#: Seconds to finish what runs and hand results over when a service manager stops us. Docker has 10 seconds of patience.
HANDOVER_S = 6.0


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EXIT_CODES_HELP
)
@click.argument("address", required=False)
@click.option(
    "--scheduler-file",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="What `myscheduler --scheduler-file` wrote: address and credentials. Waited for if it is not there yet.",
)
@click.option(
    "--nworkers",
    metavar="N|auto",
    default="1",
    show_default=True,
    help="Worker processes; auto for as many as suit the cores.",
)
@click.option("--nthreads", type=click.IntRange(1), help="Threads of each worker.  [default: cores / workers]")
@click.option("--name", help="Name of the worker; with several, a number is added.")
@click.option(
    "--memory-limit",
    metavar="SIZE",
    default="auto",
    show_default=True,
    help="Memory of each worker: '4 GiB', 0.5 for half of the machine's, 0 for no limit, auto for its share.",
)
@click.option("--local-directory", metavar="DIR", type=click.Path(file_okay=False), help="For temporary files.")
@click.option("--resources", metavar="NAME=AMOUNT,...", help="Abstract resources of each worker, like 'GPU=2,DISK=1'.")
@click.option(
    "--death-timeout",
    metavar="TIME",
    default="60 s",
    show_default=True,
    help="Exit if the scheduler cannot be reached for so long.",
)
@click.option("--host", metavar="ADDRESS", help="Address for other workers to reach this one.  [default: found out]")
@click.option("--interface", metavar="NAME", help="Network interface to listen on, like eth0, instead of --host.")
@click.option("--pid-file", metavar="FILE", type=click.Path(dir_okay=False), help="Write the process id here.")
@click.option(
    "--preload",
    metavar="FILE.py|MODULE",
    multiple=True,
    help="Python to run in each worker first; its setup(worker) and teardown(worker) are called if it has them.",
)
@click.option(
    "--insecure-plaintext",
    is_flag=True,
    help="Allow --host to be reachable from other machines though the scheduler's address is tcp://: without encryption.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What to log to stderr.",
)
@version_option
def main(
    address: str | None,
    scheduler_file: str | None,
    nworkers: str,
    nthreads: int | None,
    name: str | None,
    memory_limit: str,
    local_directory: str | None,
    resources: str | None,
    death_timeout: str,
    host: str | None,
    interface: str | None,
    pid_file: str | None,
    preload: tuple[str, ...],
    insecure_plaintext: bool,
    log_level: str,
) -> None:
    """Start workers for the scheduler at ADDRESS.

    Without ADDRESS and --scheduler-file: for the scheduler that you started last on this machine. A worker process that
    dies is replaced. SIGTERM lets workers finish and hand their results over, for some seconds; Ctrl-C stops at once.

    \b
    Examples:
      myworker                                        one worker with a thread per core
      myworker tcp://127.0.0.1:8786 --nworkers auto   processes and threads that suit this machine
      myworker --scheduler-file cluster.json          for a scheduler on another machine
      myworker --nthreads 1 --resources GPU=1 --memory-limit '8 GiB'
    """  # noqa: D301  # click wants the character \b itself
    with exit_codes():
        timeout = parse_seconds(death_timeout)
        if timeout is None or timeout <= 0:
            raise UsageError(f"--death-timeout {death_timeout!r}: give a time above 0, like '60 s'")
        sizing = choose_sizing(nworkers, nthreads, memory_limit)
        wanted = parse_resources(resources)
        configure_logging(log_level)
        scheduler = find_scheduler(address, scheduler_file, timeout)
        own_host = choose_own_host(scheduler, choose_host(host, interface, ""), insecure_plaintext)
        config = {
            "scheduler": scheduler.address,
            "host": own_host,
            "credentials": _workers_share(scheduler.credentials).to_dict(),
            "options": {
                "nthreads": sizing.threads,
                "memory_limit": sizing.memory_limit,
                "resources": wanted,
                "local_directory": None if local_directory is None else os.path.abspath(local_directory),
                "death_timeout": timeout,
                "memory_pause": float(configuration.get("memory-pause")),
            },
            "preload": list(preload),
            # Where the user stands may hold modules for tasks; last, so that it hides nothing.
            "sys_path": [*sys.path, os.getcwd()],
            "log_level": log_level.upper(),
        }
        with _pid_file(pid_file):
            sys.exit(asyncio.run(keep_workers(config, worker_names(name, sizing.workers), describe(sizing, scheduler))))


_pid_file = pid_file  # the option of the same name hides it inside main


def choose_sizing(nworkers: str, nthreads: int | None, memory_limit: str) -> Sizing:
    """How many workers, with how much each.

    Examples
    --------
    >>> choose_sizing("3", 2, "1 GiB")
    Sizing(workers=3, threads=2, memory_limit=1073741824)
    """
    if nworkers == "auto":
        workers = split_cores(cpu_count())[0] if nthreads is None else None
    elif nworkers.isdigit() and int(nworkers) > 0:
        workers = int(nworkers)
    else:
        raise UsageError(f"--nworkers {nworkers!r}: give a number above 0, or auto")
    try:
        limit: float | str = float(memory_limit)
    except ValueError:
        limit = memory_limit
    return size(workers, nthreads, limit, processes=True)


def worker_names(name: str | None, count: int) -> list[str]:
    """One name per worker, the same whenever it is started again.

    Examples
    --------
    >>> worker_names("gpu", 1), worker_names("gpu", 2)
    (['gpu'], ['gpu-0', 'gpu-1'])
    """
    base = name or f"{socket.gethostname()}-{os.getpid()}"
    return [base] if count == 1 else [f"{base}-{index}" for index in range(count)]


def find_scheduler(address: str | None, scheduler_file: str | None, timeout: float) -> SchedulerFile:
    """Address and credentials of the scheduler to serve.

    Parameters
    ----------
    address : str, optional
        As given; wins over the address in a file.
    scheduler_file : str, optional
        Waited for if it is missing: in a job system workers may start before the scheduler.
    timeout : float
        Seconds to wait for the file.

    Raises
    ------
    ConnectionFailedError
        The file did not appear, or no scheduler is known.
    AuthenticationError
        The file cannot be trusted, or no credentials are known for the address.
    """
    if scheduler_file is None:
        return find_cluster(address)
    return wait_for_scheduler_file(scheduler_file, address, timeout)


def choose_own_host(scheduler: SchedulerFile, host: str, insecure_plaintext: bool) -> str:
    """Where the worker listens for other workers and clients.

    A worker encrypts if its scheduler does. A scheduler that other machines can reach without was started with
    ``--insecure-plaintext``: that decision holds for its workers too, and they warn. A worker of a local scheduler that is
    to be reached from elsewhere has to say so itself.
    """
    scheduler_host, port = host_and_port(scheduler.address)
    # Others must be told one address; of all, the one that faces the scheduler.
    own = address_towards(scheduler_host, port) if not host or is_wildcard(host) else host
    if not scheduler.address.startswith("tls://"):
        if host and not is_loopback(host) and is_loopback(scheduler_host) and not insecure_plaintext:
            raise UsageError(
                f"the worker would listen on {host}, where other machines can reach it, without encryption, because its "
                f"scheduler at {scheduler.address} has none: whoever can listen in on the network could read and change what "
                "is sent. Start the scheduler with --host, which encrypts; or leave --host out here, which means 127.0.0.1; "
                "or, if you trust this network, say so with --insecure-plaintext"
            )
        warn_of_plaintext(host or own, "the worker")
    return own


def _workers_share(credentials: Credentials) -> Credentials:
    """What a worker needs of a cluster's secrets: its own, and the clients' for tasks that open a client."""
    credentials.secret("worker")
    return credentials.restricted(*(role for role in ("worker", "client") if role in credentials.secrets))


def describe(sizing: Sizing, scheduler: SchedulerFile) -> str:
    """What is printed at the start."""
    memory = format_bytes(sizing.memory_limit) if sizing.memory_limit else "no limit"
    workers = "1 worker" if sizing.workers == 1 else f"{sizing.workers} workers"
    threads = "1 thread" if sizing.threads == 1 else f"{sizing.threads} threads"
    return f"{workers} for {scheduler.address}, each with {threads} and {memory} of memory. Ctrl-C stops."


async def keep_workers(config: Mapping[str, Any], names: list[str], greeting: str) -> int:
    """Run one process per name until told to stop or all have ended; the exit code."""
    stopping = stop_signal()
    reporter = Reporter(partial(call_scheduler, config))
    keepers = [_keeper(config, name, reporter) for name in names]
    for keeper in keepers:
        keeper.start()
    click.echo(greeting)
    ended = asyncio.gather(*(keeper.wait() for keeper in keepers))
    await asyncio.wait((stopping, ended), return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        click.echo(f"Closing: {stopping.result()}")
        if stopping.result().startswith("SIGTERM"):
            handing_over = asyncio.ensure_future(hand_over(config, names))
            await asyncio.wait((handing_over, ended), timeout=HANDOVER_S, return_when=asyncio.FIRST_COMPLETED)
            handing_over.cancel()
    await asyncio.gather(*(keeper.stop(GRACE_S) for keeper in keepers))
    await reporter.finish()
    if stopping.done():
        return exits.CLOSED
    return max((keeper.returncode if (keeper.returncode or 0) >= 0 else exits.INTERNAL) or 0 for keeper in keepers)


async def hand_over(config: Mapping[str, Any], names: list[str]) -> None:
    """Have the scheduler empty the workers and stop them. If it cannot, what they hold is computed again."""
    if "client" not in Credentials.from_dict(config["credentials"]).secrets:
        return
    try:
        await call_scheduler(config, "retire_workers", tuple(names))
    except MySchedulerError as error:
        click.echo(f"Results were not handed over: {error}", err=True)


async def call_scheduler(config: Mapping[str, Any], method: str, *args: Any) -> Any:
    """Call a method of the scheduler, over a connection of its own."""
    credentials = Credentials.from_dict(config["credentials"])
    control = await ControlLink.open(config["scheduler"], credentials, timeout=HANDOVER_S / 3)
    try:
        return await control.call(method, *args)
    finally:
        control.close("myworker has said what it had to")


def _keeper(config: Mapping[str, Any], name: str, reporter: Reporter) -> Keeper:
    own = {**config, "options": {**config["options"], "name": name}}

    def spawn() -> ChildProcess:
        return worker_process(own, name)

    limit = own["options"]["memory_limit"]
    return Keeper(
        *(f"worker {name}", spawn),
        on_death=reporter.about(name),
        on_silence=reporter.vouch_for(name),
        memory_limit=limit,
    )


if __name__ == "__main__":
    main()
