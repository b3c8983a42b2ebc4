"""``python -m myscheduler.worker.server``: a worker as a process of its own, for clusters that start it.

The configuration is one JSON object, read from the descriptor ``--config-fd N`` (else from standard input):

- ``scheduler``: address; ``credentials``: as ``Credentials.to_dict``, or null; ``host``: where to listen, or null
- ``options``: further keywords of ``Worker``
- ``preload``: files and modules to run first, see ``base.preload``
- ``sys_path``: where tasks find their modules; ``log_level``: a name or number of ``logging``
- ``ready_fd``: where to write "1" once the worker has registered, and "0" when it ends, if not by accident
- ``board_fd``: memory shared with the parent, see ``Board``
- ``lifeline_fd``: read end of a pipe held by the parent; the process ends at once when the parent does

Exit codes: 0 closed as asked; 1 a bug of ours; 2 wrong configuration; 3 the scheduler cannot be reached; 5 it refused us;
6 it was lost, so another process may find it again. When the scheduler asks for a restart, the process replaces itself
and keeps its number.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from ...base.credentials import Credentials
from ...base.errors import AuthenticationError, ClusterError, ConnectionFailedError, MySchedulerError, UsageError
from ...base.lifeline import bind_life_to
from ...base.preload import Preloads
from ..exits import ExitReason
from .board import BEAT_S, Board
from .worker import Worker

logger = logging.getLogger(__name__)

CLOSED: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
REFUSED: Final = 5
LOST: Final = 6

_CODES: Final = {
    ExitReason.CLOSED: CLOSED,
    ExitReason.LOST_SCHEDULER: LOST,
    ExitReason.DEATH_TIMEOUT: UNREACHABLE,
    ExitReason.REFUSED: REFUSED,
    ExitReason.FAILED: FAILED,
}

#: Allocations between two looks for garbage: a batch of tasks makes thousands of tuples, none of them in cycles.
_GC_THRESHOLD: Final = 10_000


def main() -> None:
    """Run a worker until it ends; never returns."""
    try:
        config = _read_config()
        _prepare_process(config)
        board = _board(config)
        worker = _worker(config, board)
        preloads = Preloads(config.get("preload") or ())
    except (MySchedulerError, OSError, ValueError, TypeError, KeyError) as error:
        print(f"worker: wrong configuration: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(USAGE)
    gc.freeze()  # what was imported stays; the collector need not look at it
    gc.set_threshold(_GC_THRESHOLD, 10, 10)
    code = asyncio.run(_run(worker, preloads, config, board))
    if code is None:
        _replace_process(config)
    _tell_parent(config, b"0")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that still run a task would keep the interpreter from ending, or crash while it does.
    os._exit(FAILED if code is None else code)


async def _run(worker: Worker, preloads: Preloads, config: dict[str, Any], board: Board) -> int | None:
    """The exit code, or None for a restart."""
    loop = asyncio.get_running_loop()
    lifeline = config.get("lifeline_fd")
    if lifeline is not None and not bind_life_to(lifeline):
        loop.add_reader(lifeline, os._exit, FAILED)
    tasks: dict[asyncio.Task[None], None] = {}
    starting = loop.create_task(_start(worker, preloads))

    def stop(signal_name: str) -> None:
        # A worker may wait long for its scheduler; there is nothing to close before it has found one.
        if not starting.cancel():
            tasks[loop.create_task(worker.close(signal_name))] = None

    _beat(loop, board)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    worker.at_close(lambda: preloads.teardown(worker))
    worker.at_registration(lambda: _tell_ready(config))
    try:
        await starting
    except asyncio.CancelledError:
        return CLOSED
    except (AuthenticationError, ConnectionFailedError, UsageError, ClusterError, TimeoutError) as error:
        logger.error("worker: %s", error)  # noqa: TRY400 (the text says it all)
        unreachable = isinstance(error, (ConnectionFailedError, TimeoutError))
        return UNREACHABLE if unreachable else REFUSED
    exit_reason = await worker.finished()
    if exit_reason is ExitReason.RESTART:
        return None
    if exit_reason is not ExitReason.CLOSED:
        logger.error("worker %s ends: %s", worker.name, worker.exit_text)
    return _CODES[exit_reason]


def _beat(loop: asyncio.AbstractEventLoop, board: Board) -> None:
    """Let the keeper see that the loop turns."""

    def beat() -> None:
        board.beat()
        loop.call_later(BEAT_S, beat)

    beat()


def _tell_ready(config: dict[str, Any]) -> None:
    if not config.get("is_ready"):  # a next life in this process need not say it again
        config["is_ready"] = True
        _tell_parent(config, b"1")


def _tell_parent(config: Mapping[str, Any], what: bytes) -> None:
    if config.get("ready_fd") is not None:
        with suppress(OSError):  # a task may have closed what it did not know
            os.write(config["ready_fd"], what)


async def _start(worker: Worker, preloads: Preloads) -> None:
    await preloads.setup(worker)
    await worker.start()


def _board(config: Mapping[str, Any]) -> Board:
    """Where the keeper looks, if there is one; the life before in this process may have left something."""
    descriptor = config.get("board_fd")
    board = Board.private() if descriptor is None else Board(descriptor)
    board.clear()
    return board


def _worker(config: Mapping[str, Any], board: Board) -> Worker:
    credentials = config.get("credentials")
    return Worker(
        config["scheduler"],
        credentials=None if credentials is None else Credentials.from_dict(credentials),
        host=config.get("host"),
        board=board,
        **config.get("options", {}),
    )


def _read_config() -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m myscheduler.worker.server", description="A worker process.")
    parser.add_argument("--config-fd", type=int, default=0, help="descriptor to read the configuration from")
    arguments = parser.parse_args()
    with open(arguments.config_fd, encoding="utf-8", closefd=arguments.config_fd != 0) as file:
        config = json.load(file)
    if not isinstance(config, dict):
        raise UsageError("the configuration is not a JSON object")
    return config


def _prepare_process(config: Mapping[str, Any]) -> None:
    logging.basicConfig(
        level=config.get("log_level", logging.WARNING), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    faulthandler.enable(all_threads=False)  # a crash in compiled code says where it was; the keeper passes that on
    paths = config.get("sys_path") or []
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def _replace_process(config: Mapping[str, Any]) -> None:
    """Start anew in this process: nothing of the old life's memory, modules and threads is left."""
    descriptor = _readable(config)
    os.set_inheritable(descriptor, True)
    for name in ("board_fd", "lifeline_fd", "ready_fd"):
        if config.get(name) is not None:
            os.set_inheritable(config[name], True)
    flags = ["-P"] if sys.flags.safe_path else []
    os.execv(  # noqa: S606
        sys.executable, [sys.executable, *flags, "-m", "myscheduler.worker.server", "--config-fd", str(descriptor)]
    )


def _readable(config: Mapping[str, Any]) -> int:
    """A descriptor from which the next life reads its configuration: in memory only, as it holds secrets."""
    if hasattr(os, "memfd_create"):
        descriptor = write_end = os.memfd_create("myscheduler-config")
    else:
        descriptor, write_end = os.pipe()
    with open(write_end, "w", encoding="utf-8", closefd=write_end != descriptor) as file:
        json.dump(config, file)
    if write_end == descriptor:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


if __name__ == "__main__":
    main()
