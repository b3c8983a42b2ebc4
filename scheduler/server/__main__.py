"""The scheduler as a child process: ``python -m myscheduler.scheduler.server --config-fd N``.

The configuration is one JSON object, read from the inherited descriptor N: ``credentials``, ``listen_fd`` (a listening
socket), ``lifeline_fd``, ``options`` (``name``, ``dashboard``) and ``log_level``. Exit code 0 means closed on purpose.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from typing import Any

from ...base.credentials import Credentials
from ...base.lifeline import bind_life_to
from ...transport.attentive import AttentiveSelector, run
from .collecting import spare_records
from .scheduler import SchedulerServer


def main() -> None:
    """Run until closed or told to stop by a signal."""
    descriptor = int(sys.argv[sys.argv.index("--config-fd") + 1])
    with open(descriptor, "rb") as file:
        config = json.load(file)
    logging.basicConfig(level=str(config.get("log_level", "warning")).upper(), format="%(name)s: %(message)s")
    refuse_unpickling()
    run(lambda selector: _run(config, selector))


def refuse_unpickling() -> None:
    """Make unpickling of anything that names code fail in this process: the scheduler has no business doing it."""

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            raise RuntimeError(f"the scheduler never unpickles, but something tried to load {args[0]}.{args[1]}")

    sys.addaudithook(audit)


async def _run(config: dict[str, Any], selector: AttentiveSelector) -> None:
    loop = asyncio.get_running_loop()
    sock = socket.socket(fileno=config["listen_fd"])
    sock.setblocking(False)
    options = config.get("options", {})
    server = SchedulerServer(Credentials.from_dict(config["credentials"]), sock=sock, attentive=selector, **options)
    await server.start()
    lifeline = config.get("lifeline_fd")
    if lifeline is not None and not bind_life_to(lifeline):
        loop.add_reader(lifeline, os._exit, 1)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: loop.create_task(server.close("the scheduler was told to stop")))
    spare_records()
    await server.finished()


if __name__ == "__main__":
    main()
