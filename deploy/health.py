"""The question that containers and service managers ask: does the scheduler answer, is this machine's worker at work?

``python -m myscheduler.deploy.health ADDRESS`` for a scheduler, ``... --worker ADDRESS`` for a worker, with
``--scheduler-file FILE`` instead of an address. It asks over the wire, so it also notices a process that is there but stuck.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

from ..base.credentials import Credentials, find_cluster
from ..base.errors import ClusterError, MySchedulerError
from ..protocol.messages import Role
from .control import ControlLink
from .scheduler_file import wait_for_scheduler_file

#: Seconds within which all must have been answered.
TIMEOUT_S: Final = 4.0


async def check(
    address: str, credentials: Credentials | None, worker_host: str | None = None, timeout: float = TIMEOUT_S
) -> str:
    """Ask a scheduler how it is.

    Parameters
    ----------
    address : str
        Of the scheduler.
    credentials : Credentials, optional
        With the observers' secret, or the clients'.
    worker_host : str, optional
        The name of a machine that should have a worker.
    timeout : float
        Seconds for everything.

    Returns
    -------
    str
        What was found, for humans.

    Raises
    ------
    ClusterError
        It does not answer, does not let us in, or has no worker on that machine.
    """
    observes = credentials is None or Role.OBSERVER in credentials.secrets
    role = Role.OBSERVER if observes else Role.CLIENT
    deadline = asyncio.get_running_loop().time() + timeout
    link = await ControlLink.open(address, credentials, role=role, timeout=timeout)
    try:
        async with asyncio.timeout_at(deadline):
            workers = (await link.call("overview"))["workers"]
    except TimeoutError:
        raise ClusterError(f"the scheduler at {address} did not answer within {timeout:g} s") from None
    finally:
        link.close("health check")
    if worker_host is None:
        return f"the scheduler at {address} answers; {len(workers)} workers"
    here = [worker for worker in workers if worker["host"] == worker_host]
    if not here:
        raise ClusterError(
            f"the scheduler at {address} knows no worker on {worker_host}; it has {len(workers)} elsewhere"
        )
    return f"{len(here)} of the {len(workers)} workers of {address} run on {worker_host}"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if all is well, 1 if not; one line says what was found."""
    parser = argparse.ArgumentParser(prog="python -m myscheduler.deploy.health", description="Is the cluster well?")
    parser.add_argument("address", nargs="?", help="of the scheduler (default: the one started last here)")
    parser.add_argument("--scheduler-file", metavar="FILE", help="address and credentials")
    parser.add_argument("--worker", action="store_true", help="and has it a worker on this machine?")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="seconds (default: %(default)s)")
    options = parser.parse_args(arguments)
    host = socket.gethostname() if options.worker else None
    deadline = time.monotonic() + options.timeout
    try:
        if options.scheduler_file is None:
            found = find_cluster(options.address)
        else:
            found = wait_for_scheduler_file(options.scheduler_file, options.address, options.timeout)
        left = max(deadline - time.monotonic(), 0.0)
        print(asyncio.run(check(found.address, found.credentials, host, left)))  # noqa: T201
    except MySchedulerError as error:
        print(f"unhealthy: {error}")  # noqa: T201  # docker inspect shows stdout and stderr alike
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
