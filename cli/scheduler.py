"""The command ``myscheduler``: a scheduler and its dashboard."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from ..base import config
from ..base.certificates import RENEW
from ..base.credentials import (
    FILE_VARIABLE,
    Credentials,
    find_cluster,
    publish_cluster,
    published_path,
    read_scheduler_file,
    withdraw_cluster,
    write_scheduler_file,
)
from ..base.errors import AuthenticationError, ConnectionFailedError, UsageError
from ..base.preload import Preloads
from ..base.units import parse_bytes, parse_seconds
from ..base.version import VERSION
from ..deploy.control import ControlLink
from ..deploy.dashboard import DashboardPlace
from ..deploy.sockets import (
    SCHEDULER_PORT,
    PortInUseError,
    address_of,
    is_loopback,
    is_wildcard,
    listen,
    parse_dashboard_address,
)
from ..scheduler.server.collecting import spare_records
from ..scheduler.server.scheduler import SchedulerServer
from ..transport.attentive import AttentiveSelector, run
from .common import (
    EXIT_CODES_HELP,
    choose_host,
    configure_logging,
    exit_codes,
    pid_file,
    stop_signal,
    version_option,
    warn_of_plaintext,
)
from .journal import journal

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether anybody uses the scheduler.
IDLE_CHECK_S = 1.0
#: How long before their end the scheduler warns of certificates that expire.
EXPIRY_WARNING_S = 86400.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for."""

    host: str
    port: int
    contact_host: str | None
    dashboard: tuple[str, int] | None
    scheduler_file: str | None
    preload: tuple[str, ...]
    idle_timeout: float | None
    tls: bool
    certificate_lifetime: float


@click.group(
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES_HELP,
)
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1, this machine only]")
@click.option("--interface", metavar="NAME", help="Network interface to listen on, like eth0, instead of --host.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=SCHEDULER_PORT, show_default=True, help="Port; 0 for any free one."
)
@click.option(
    "--contact-host",
    metavar="NAME",
    help="Name or address under which others reach this machine, if that is not what it listens on.",
)
@click.option(
    "--dashboard-address",
    metavar="[HOST]:PORT",
    default=":8787",
    show_default=True,
    help="Where the dashboard listens; without HOST, on this machine only. If taken, the next free port.",
)
@click.option("--dashboard/--no-dashboard", default=True, show_default=True, help="Whether to serve the dashboard.")
@click.option(
    "--scheduler-file",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write address and credentials here, readable by you only. If it exists, its credentials are kept.",
)
@click.option(
    "--write-credentials",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Only make credentials for a cluster to come, write them to FILE, and exit.",
)
@click.option("--pid-file", metavar="FILE", type=click.Path(dir_okay=False), help="Write the process id here.")
@click.option(
    "--preload",
    metavar="FILE.py|MODULE",
    multiple=True,
    help="Python to run first; its setup(server) and teardown(server) are called if it has them. Repeatable.",
)
@click.option("--idle-timeout", metavar="TIME", help="Close after so long without clients and tasks, like '30 min'.")
@click.option(
    "--insecure-plaintext",
    is_flag=True,
    help="With --host: plain TCP instead of TLS. Whoever can listen in on the network can read and change what is sent.",
)
@click.option(
    "--insecure-dashboard",
    is_flag=True,
    help="Allow --dashboard-address to be reachable from other machines, though the dashboard speaks plain HTTP.",
)
@click.option(
    "--certificate-lifetime",
    metavar="TIME",
    default="7 days",
    show_default=True,
    help="How long new certificates are good. They are made anew at a start when less than half of it is left.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What to log to stderr.",
)
@version_option
@click.pass_context
def main(
    context: click.Context,
    host: str | None,
    interface: str | None,
    port: int,
    contact_host: str | None,
    dashboard_address: str,
    dashboard: bool,
    scheduler_file: str | None,
    write_credentials: str | None,
    pid_file: str | None,  # noqa: A002, RUF100
    preload: tuple[str, ...],
    idle_timeout: str | None,
    insecure_plaintext: bool,
    insecure_dashboard: bool,
    certificate_lifetime: str,
    log_level: str,
) -> None:
    """Start a scheduler, the center of a cluster.

    Workers and clients of the same user on this machine find it by its address alone, because its credentials are
    published in ~/.myscheduler. For another machine, copy one file there; with a --host that other machines can reach,
    all connections are encrypted (TLS).

    \b
    Examples:
      myscheduler                                  on this machine, port 8786, dashboard on 8787
      myworker                                     workers for it, in another terminal
      myscheduler --port 0 --no-dashboard          another one beside it
    \b
      myscheduler --host 10.0.0.5 --scheduler-file cluster.json
      scp -p cluster.json node7: && ssh node7 myworker --scheduler-file cluster.json
    """  # noqa: D301  # click wants the character \b itself
    if context.invoked_subcommand is not None:
        return
    with exit_codes():
        lifetime = parse_seconds(certificate_lifetime)
        if lifetime is None or lifetime <= 0:
            raise UsageError(f"--certificate-lifetime {certificate_lifetime!r}: give a time above 0, like '7 days'")
        if write_credentials is not None:
            _write_credentials(write_credentials, lifetime)
            return
        host = choose_host(host, interface, "127.0.0.1")
        place = parse_dashboard_address(dashboard_address) if dashboard else None
        if place is not None:
            _check_dashboard(place[0], insecure_dashboard or insecure_plaintext)
        if insecure_plaintext:
            warn_of_plaintext(host, "the scheduler")
        configure_logging(log_level)
        options = Options(
            host,
            port,
            contact_host,
            place,
            scheduler_file,
            preload,
            parse_seconds(idle_timeout),
            tls=not (insecure_plaintext or is_loopback(host)),
            certificate_lifetime=lifetime,
        )
        with _pid_file(pid_file):
            run(lambda selector: serve(options, selector))


main.add_command(journal)

_pid_file = pid_file  # the option of the same name hides it inside main


def _write_credentials(path: str, lifetime: float) -> None:
    if os.path.lexists(path):
        raise UsageError(f"{path} exists; remove it first if no cluster uses its credentials any more")
    credentials = Credentials.generate().certified(lifetime)
    write_scheduler_file(path, "", credentials)
    click.echo(
        f"Credentials written to {path}, readable by you only. Give the file to the scheduler, workers and clients "
        f"to come: put its path into {FILE_VARIABLE}."
    )
    if credentials.certificates is not None:
        click.echo(
            f"Its certificates, for tls:// addresses, are good until {credentials.certificates.expiry}; "
            "--certificate-lifetime makes them last longer."
        )


def _check_dashboard(host: str, allowed: bool) -> None:
    """Refuse to show pages to other machines without encryption, unless told that this is known; then warn, every time."""
    if not is_loopback(host) and not allowed:
        raise UsageError(
            f"the dashboard would listen on {host}, where other machines can reach it, and it speaks plain HTTP: whoever can "
            "listen in on the network could read what it shows, and its token. Leave the host out, which means 127.0.0.1, and "
            "use an SSH tunnel or a proxy with TLS; or, if you trust this network, say so with --insecure-dashboard"
        )
    warn_of_plaintext(host, "the dashboard")


async def serve(options: Options, selector: AttentiveSelector) -> None:
    """Run the scheduler until it is told to stop. ``selector``: the loop's."""
    stopping = stop_signal()  # before there is anything that a signal must not leave behind
    with ExitStack() as cleanup:
        sock = cleanup.enter_context(_listen(options.host, options.port))
        contact = options.contact_host or (socket.gethostname() if is_wildcard(options.host) else None)
        scheme = "tls" if options.tls else "tcp"
        address = address_of(sock, contact, scheme)
        credentials = find_credentials(options.scheduler_file, address)
        if options.tls:
            credentials = with_certificates(credentials, options)
            cleanup.enter_context(warning_of_expiry(credentials))
        place = None if options.dashboard is None else DashboardPlace(*options.dashboard)
        link = None if place is None else place.link
        room = parse_bytes(config.get("journal"))
        server = SchedulerServer(
            credentials, sock=sock, dashboard=link, journal=room, tls=options.tls, attentive=selector
        )
        preloads = Preloads(options.preload)
        await server.start()
        try:
            await preloads.setup(server)
            published = publish_cluster(address, credentials, link)
            cleanup.callback(withdraw_cluster, published)
            if options.scheduler_file is not None:
                write_scheduler_file(options.scheduler_file, address, credentials, link)
            local = address if is_loopback(options.host) else address_of(sock, _local_host(options.host), scheme)
            if place is not None:
                place.start(local, credentials)
            spare_records()
            click.echo(greeting(address, place, options.scheduler_file or str(published), options, credentials))
            await _until_closed(stopping, server, local, credentials, options.idle_timeout)
        finally:
            await preloads.teardown(server)
            await server.close("the scheduler stops")
            if place is not None:
                await place.stop()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except PortInUseError as error:
        raise PortInUseError(
            f"{error}. If that is a scheduler of yours, use it: myworker {host}:{port}. "
            f"Or start this one elsewhere: --port {port + 1}, or --port 0 for any free port"
        ) from None


def _local_host(host: str) -> str:
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def find_credentials(scheduler_file: str | None, address: str) -> Credentials:
    """Those this cluster had before, so that a restart locks nobody out; else new ones.

    Parameters
    ----------
    scheduler_file : str, optional
        Comes first, if it exists.
    address : str
        A scheduler that was killed has left its credentials published under this address.

    Raises
    ------
    AuthenticationError
        A file that was named cannot be trusted.
    """
    if scheduler_file is not None and os.path.lexists(scheduler_file):
        return read_scheduler_file(scheduler_file).credentials
    if os.environ.get(FILE_VARIABLE):
        return find_cluster(address).credentials
    try:
        return read_scheduler_file(published_path(address)).credentials
    except (AuthenticationError, ConnectionFailedError):
        return Credentials.generate()


def with_certificates(credentials: Credentials, options: Options) -> Credentials:
    """These credentials with certificates that are good for a while: their own, or new ones.

    Raises
    ------
    AuthenticationError
        They come from a file that others have a copy of already, so new ones would keep them out.
    """
    certificates, lifetime = credentials.certificates, options.certificate_lifetime
    remaining = certificates.remaining if certificates is not None and "scheduler" in certificates.leaves else 0.0
    prepared = os.environ.get(FILE_VARIABLE)
    if prepared and not (options.scheduler_file is not None and os.path.lexists(options.scheduler_file)):
        if remaining <= 0:
            raise AuthenticationError(
                f"{prepared} (from {FILE_VARIABLE}) holds no certificate for the scheduler, or an expired one, and tls:// "
                "needs it: remove the file, make a new one with `myscheduler --write-credentials`, and give it to all"
            )
        return credentials
    return credentials if remaining > lifetime / 2 else credentials.certified(lifetime)


@contextmanager
def warning_of_expiry(credentials: Credentials) -> Iterator[None]:
    """Log a warning when the certificates will soon expire; on a running loop."""
    certificates = credentials.certificates
    assert certificates is not None
    timer = asyncio.get_running_loop().call_later(
        max(certificates.remaining - EXPIRY_WARNING_S, 0.0),
        logger.warning,
        "the certificates of this cluster expire at %s: who is connected stays connected, but nobody can connect after that, "
        "nor can workers fetch from workers they have not met: %s",
        certificates.expiry,
        RENEW,
    )
    try:
        yield
    finally:
        timer.cancel()


def greeting(address: str, place: DashboardPlace | None, file: str, options: Options, credentials: Credentials) -> str:
    """What is printed at the start: where things are, and the next steps."""
    home = Path.home()
    shown = f"~/{Path(file).relative_to(home)}" if Path(file).is_relative_to(home) else file
    lines = [f"myscheduler {VERSION}", f"  Scheduler    {address}"]
    if place is None:
        lines.append("  Dashboard    off")
    else:
        lines.append(f"  Dashboard    {place.link}" + (f"  ({place.note})" if place.note else ""))
    lines += [
        f"  Credentials  {shown}",
        *encryption(options, credentials),
        "Next:",
        f"  workers on this machine      myworker {address}",
        f'  a client on this machine     Client("{address}")',
    ]
    if is_loopback(options.host):
        lines.append("  other machines               not reachable; see --host in myscheduler --help")
    else:
        lines.append("  workers elsewhere            copy the credentials file there, then")
        lines.append("                               myworker --scheduler-file FILE")
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)


def encryption(options: Options, credentials: Credentials) -> list[str]:
    """The line of the greeting that says what protects connections, where that is a question."""
    if is_loopback(options.host):
        return []
    if options.tls and credentials.certificates is not None:
        return [f"  Encryption   TLS 1.3, certificates good until {credentials.certificates.expiry}"]
    return ["  Encryption   NONE, because of --insecure-plaintext"]


async def _until_closed(
    stopping: asyncio.Future[str],
    server: SchedulerServer,
    address: str,
    credentials: Credentials,
    idle_timeout: float | None,
) -> None:
    waits: list[asyncio.Future[str]] = [stopping, asyncio.ensure_future(server.finished())]
    if idle_timeout is not None:
        waits.append(asyncio.ensure_future(_idle(address, credentials, idle_timeout)))
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    click.echo(f"Closing: {next(iter(done)).result()}")


async def _idle(address: str, credentials: Credentials, limit: float) -> str:
    """Return when nobody has used the scheduler for ``limit`` seconds."""
    loop = asyncio.get_running_loop()
    control = await ControlLink.open(address, credentials)
    busy = loop.time()
    while loop.time() - busy < limit:
        await asyncio.sleep(min(IDLE_CHECK_S, limit / 4))
        overview = await control.call("overview")
        # We are one of its clients ourselves.
        if overview["clients"] > 1 or any(_unfinished(row) for row in overview["progress"]):
            busy = loop.time()
    return f"idle for {limit:g} s"


def _unfinished(row: dict[str, int]) -> bool:
    return any(row[state] for state in ("waiting", "queued", "assigned"))


if __name__ == "__main__":
    main()
