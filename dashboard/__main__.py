"""The dashboard's process: ``python -m myscheduler.dashboard --config-fd N``. Started by whoever starts the scheduler.

The configuration is JSON, read from an inherited descriptor, because it holds secrets: ``scheduler`` (address),
``credentials`` (of an observer, or null), ``listen_fd`` (a bound and listening socket), ``token``; and optionally
``lifeline_fd`` (we end when this pipe does), ``hosts`` (names under which browsers reach us) and ``name`` (of the cluster).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..base.credentials import Credentials
from ..base.errors import AuthenticationError, ClusterError, UsageError, VersionMismatchError
from .feed import Feed, RefusedError
from .model import Model
from .server import Server

logger = logging.getLogger(__name__)

#: Exit codes, the same as those of the other processes.
CLOSED: Final = 0
USAGE: Final = 2
UNREACHABLE: Final = 3
REFUSED: Final = 5
#: Seconds that open pages get to say why the dashboard ends.
FAREWELL_S: Final = 1.0


@dataclass(frozen=True)
class Config:
    """What the parent hands over; ``repr`` shows no secret."""

    scheduler: str
    credentials: Credentials | None
    listen_fd: int
    token: str
    lifeline_fd: int | None
    hosts: tuple[str, ...]
    name: str

    @classmethod
    def parse(cls, text: str) -> Config:
        """Read the JSON text; UsageError names what is missing or wrong, without quoting secrets."""
        try:
            data = json.loads(text)
        except ValueError:
            raise UsageError("the dashboard's configuration is no JSON") from None
        if not isinstance(data, dict):
            raise UsageError("the dashboard's configuration is no JSON object")
        lifeline = _get(data, "lifeline_fd", int, None)
        credentials = data.get("credentials")
        hosts = data.get("hosts") or data.get("allowed_hosts") or ()
        return cls(
            scheduler=_get(data, "scheduler", str),
            credentials=None if credentials is None else Credentials.from_dict(credentials),
            listen_fd=_get(data, "listen_fd", int),
            token=_get(data, "token", str),
            lifeline_fd=lifeline,
            hosts=tuple(str(host) for host in hosts),
            name=_get(data, "name", str, ""),
        )

    def __repr__(self) -> str:
        return f"Config(scheduler={self.scheduler!r}, token=<secret>, hosts={self.hosts!r}, name={self.name!r})"


_REQUIRED: Final = object()


def _get(data: dict[str, Any], key: str, kind: type, default: Any = _REQUIRED) -> Any:
    value = data.get(key)
    if value is None and default is not _REQUIRED:
        return default
    if type(value) is not kind:
        raise UsageError(f"the dashboard's configuration needs {key!r} as {kind.__name__}")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the scheduler closes, the parent is gone, or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m myscheduler.dashboard", description="The dashboard's process.")
    parser.add_argument("--config-fd", type=int, required=True, help="descriptor from which the configuration is read")
    parser.add_argument("--log-level", default="WARNING", help="of the log on stderr (default: WARNING)")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    # Bokeh warns about every page that is closed while an update is under way.
    logging.getLogger("bokeh").setLevel(logging.ERROR)
    try:
        with open(options.config_fd, encoding="utf-8") as file:
            config = Config.parse(file.read())
        return asyncio.run(run(config))
    except (UsageError, OSError) as error:
        logger.error("%s", error)  # noqa: TRY400 (the message says it all)
        return USAGE


async def run(config: Config) -> int:
    """Serve until there is nothing left to show; an exit code."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_signal_handler(signal.SIGTERM, end)
    # With a lifeline the parent decides; Ctrl-C in its terminal is not meant for us.
    loop.add_signal_handler(signal.SIGINT, end if config.lifeline_fd is None else lambda: None)
    if config.lifeline_fd is not None:
        os.set_blocking(config.lifeline_fd, False)
        loop.add_reader(config.lifeline_fd, _on_lifeline, config.lifeline_fd, end)
    feed = Feed(config.scheduler, config.credentials, Model(config.name))
    server = Server(feed, config.token, [socket.socket(fileno=config.listen_fd)], config.hosts)
    server.start()
    feeding = asyncio.create_task(feed.run())
    try:
        waiting: list[asyncio.Future[Any]] = [feeding, ended]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not feeding.done():
            return CLOSED
        code = outcome(feeding)
        await asyncio.wait([ended], timeout=FAREWELL_S)
        return code
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])
        await server.stop()


def _on_lifeline(descriptor: int, end: Any) -> None:
    try:
        data = os.read(descriptor, 4096)
    except BlockingIOError:
        return
    if not data:
        asyncio.get_running_loop().remove_reader(descriptor)
        end()


def outcome(feeding: asyncio.Task[str]) -> int:
    """Log why the scheduler is gone, and say it as an exit code."""
    error = feeding.exception()
    if error is None:
        logger.info("the scheduler has closed: %s", feeding.result())
        return CLOSED
    if isinstance(error, (AuthenticationError, RefusedError, VersionMismatchError)):
        logger.error("the scheduler refused the dashboard: %s", error)
        return REFUSED
    if isinstance(error, ClusterError):
        logger.warning("the scheduler cannot be reached: %s", error)
        return UNREACHABLE
    raise error


if __name__ == "__main__":
    sys.exit(main())
