"""Which scheduler a ``Client(...)`` call means, and with which credentials."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass
from typing import Any

from ...base import config
from ...base.credentials import Credentials, SchedulerFile, find_cluster, read_scheduler_file
from ...base.errors import UsageError
from ...base.version import VERSION
from ...transport.addresses import parse
from . import hooks


@dataclass(slots=True)
class Target:
    """A scheduler to connect to."""

    address: str
    credentials: Credentials | None
    dashboard: str | None = None
    cluster: Any = None  # the object that was given or started, if any
    owned: bool = False  # started for this client, so it ends with it


def find_target(
    address: Any,
    scheduler_file: str | os.PathLike[str] | None,
    credentials: Credentials | str | os.PathLike[str] | None,
    cluster_options: dict[str, Any],
) -> Target | None:
    """Make sense of the arguments of ``Client``; None if a cluster must be started.

    Raises
    ------
    UsageError
        The arguments contradict each other.
    AuthenticationError, ConnectionFailedError
        No credentials can be found.
    """
    source = "address"
    if address is None and scheduler_file is None:
        address, scheduler_file, source = _configured()
        if address is None and scheduler_file is None:
            if credentials is not None:
                raise UsageError("credentials= needs the address of the scheduler they are for")
            return None
    if cluster_options:
        names = ", ".join(f"{name}=" for name in cluster_options)
        raise UsageError(
            f"{names} would configure a new local cluster, but this client connects to a running one (by its {source}); "
            "leave them out, or leave the address out"
        )
    if isinstance(credentials, (str, os.PathLike)):
        credentials = read_scheduler_file(credentials).credentials
    if scheduler_file is not None:
        if address is not None:
            raise UsageError("give either an address or scheduler_file=, not both")
        found = read_scheduler_file(scheduler_file)
        if not found.address:
            raise UsageError(
                f"{os.fspath(scheduler_file)} names no address; give the scheduler's, and the file as credentials="
            )
        return Target(found.address, credentials or found.credentials, found.dashboard)
    if not isinstance(address, str):
        return _of_cluster(address, credentials)
    parsed, worker = parse(address), hooks.current_worker()
    if credentials is None and worker is not None and parse(worker.scheduler_address).host_port == parsed.host_port:
        return Target(worker.scheduler_address, worker.credentials)
    if parsed.scheme == "inproc":
        return Target(str(parsed), credentials)
    # Whether it speaks TLS is known from its file, even if the address does not say so.
    found = find_cluster(address) if credentials is None else SchedulerFile("", credentials)
    return Target(str(parse(found.dial(address))), found.credentials, found.dashboard)


def _configured() -> tuple[str | None, str | os.PathLike[str] | None, str]:
    """Address or scheduler file, whichever was set by the stronger source, and the name of that source."""
    file, address = config.lookup("scheduler-file"), config.lookup("scheduler-address")
    if file.value is not None and (address.value is None or file.strength >= address.strength):
        return None, file.value, f"scheduler-file, from {file.source}"
    return address.value, None, f"scheduler-address, from {address.source}"


def _of_cluster(cluster: Any, credentials: Credentials | None, *, owned: bool = False) -> Target:
    address = getattr(cluster, "scheduler_address", None)
    if not isinstance(address, str) or not address:
        raise UsageError(
            f"cannot connect to {cluster!r}: give an address such as 'tcp://host:8786', or a cluster that has been started"
        )
    return Target(
        address,
        credentials or getattr(cluster, "credentials", None),
        getattr(cluster, "dashboard_link", None),
        cluster,
        owned,
    )


def start_cluster(cluster_options: dict[str, Any]) -> Target:
    """Start a cluster for this client alone, blocking."""
    return _of_cluster(_factory()(asynchronous=False, **cluster_options), None, owned=True)


async def start_cluster_async(cluster_options: dict[str, Any]) -> Target:
    """Start a cluster for this client alone, on the running loop."""
    return _of_cluster(await _factory()(asynchronous=True, **cluster_options), None, owned=True)


def _factory() -> Any:
    if hooks.cluster_factory is None:
        raise UsageError(
            "Client() would start a local cluster, but nothing here can: `import myscheduler` provides that, "
            "or give the address of a running scheduler"
        )
    return hooks.cluster_factory


def introduction(name: str | None) -> dict[str, Any]:
    """The info of our HELLO."""
    return {
        "versions": {
            "python": ".".join(platform.python_version_tuple()[:2]),
            "myscheduler": VERSION,
        },
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "name": name or "client",
    }
