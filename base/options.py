"""What can be configured: every key with its type, its default, and what it does. Each of them is read somewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from .errors import UsageError
from .units import parse_bytes, parse_seconds


@dataclass(frozen=True, slots=True)
class Option:
    """One key.

    Parameters
    ----------
    does : str
        What it is for, in one sentence.
    expected : str
        The type, in words for the text of errors.
    accepts : callable
        Whether a value has that type.
    default : object
        In force while nobody sets it.
    variable : str, optional
        An environment variable besides ``MYSCHEDULER__...``.
    only_in_programs : bool
        Whether it takes objects that cannot be written into a file.
    """

    does: str
    expected: str
    accepts: Callable[[Any], bool]
    default: Any = None
    variable: str | None = None
    only_in_programs: bool = False


def variable_of(prefix: str, key: str) -> str:
    """The environment variable of a key.

    Examples
    --------
    >>> variable_of("MYSCHEDULER__", "local-cluster.n-workers")
    'MYSCHEDULER__LOCAL_CLUSTER__N_WORKERS'
    """
    return prefix + key.replace(".", "__").replace("-", "_").upper()


def _is_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and bool(value))


def _is_path(value: Any) -> bool:
    return _is_text(value) or isinstance(value, os.PathLike)


def _is_count(value: Any, least: int = 1) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= least)


def _is_scheduler(value: Any) -> bool:
    return _is_text(value) or any(callable(getattr(value, name, None)) for name in ("compute", "submit"))


def _is_pool(value: Any) -> bool:
    return value is None or any(callable(getattr(value, name, None)) for name in ("work", "submit"))


def _is_memory(value: Any) -> bool:
    if value is None or value == "auto":
        return True
    try:
        return isinstance(value, (int, float, str)) and not isinstance(value, bool) and parse_bytes(value) >= 0
    except UsageError:
        return False


def _is_size(value: Any) -> bool:
    return value is not None and value != "auto" and _is_memory(value)


def _is_duration(value: Any) -> bool:
    try:
        seconds = parse_seconds(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except UsageError:
        return False
    return seconds is not None and seconds < inf


def _is_part(value: Any) -> bool:
    return value is False or (isinstance(value, float) and 0.0 < value < 1.0)


OPTIONS: Final[dict[str, Option]] = {
    "scheduler": Option(
        "Who runs graphs when the call names nobody.",
        "the name of a scheduler, or null (in programs also a Client or an Executor)",
        _is_scheduler,
    ),
    "num-workers": Option(
        "Threads or processes of the schedulers of one machine; one for each processor if null.",
        "a whole number of at least 1, or null",
        _is_count,
    ),
    "pool": Option(
        'An Executor or a ProcessPool for the schedulers "threads" and "processes".',
        "a concurrent.futures.Executor, a ProcessPool, or None",
        _is_pool,
        only_in_programs=True,
    ),
    "scheduler-address": Option(
        "Where Client() connects instead of starting a cluster.",
        "text such as tcp://host:8786 or tls://host:8786, or null",
        _is_text,
        variable="MYSCHEDULER_SCHEDULER_ADDRESS",
    ),
    "scheduler-file": Option(
        "The same, with credentials: a file that a scheduler has written.",
        "the path of a file, or null",
        _is_path,
        variable="MYSCHEDULER_SCHEDULER_FILE",
    ),
    "shared-memory": Option(
        "Whether large values move between processes of one user on one host through shared memory.",
        "true or false",
        lambda value: isinstance(value, bool),
        default=True,
    ),
    "journal": Option(
        "Memory in which a scheduler that is started here notes what happened last; 0 for no journal.",
        "a size such as 64 MiB, or 0",
        _is_size,
        default="64 MiB",
    ),
    "worker-lease": Option(
        "How long a worker that has lost its scheduler keeps its data, goes on with its tasks, and tries to come back.",
        "seconds, or text such as 5 min",
        _is_duration,
        default=300.0,
    ),
    "memory-pause": Option(
        "The part of its memory limit above which a worker process starts nothing new.",
        "a number above 0 and below 1, or false to turn it off",
        _is_part,
        default=0.8,
    ),
    "client-grace": Option(
        "How long a scheduler keeps the futures of a client that has lost its connection, and the client tries to come back.",
        "seconds, or text such as 30 s",
        _is_duration,
        default=30.0,
    ),
    "local-cluster.n-workers": Option(
        "Workers of a LocalCluster that is not told how many.",
        "a whole number of at least 0, or null",
        lambda value: _is_count(value, 0),
    ),
    "local-cluster.threads-per-worker": Option(
        "Threads of each of them.",
        "a whole number of at least 1, or null",
        _is_count,
    ),
    "local-cluster.memory-limit": Option(
        "Memory of each of them.",
        "a size such as 2 GiB, auto, or null for no limit",
        _is_memory,
        default="auto",
    ),
    "local-cluster.dashboard-address": Option(
        "Where the dashboard of a LocalCluster listens.",
        "text such as :8787, or null for no dashboard",
        _is_text,
        default=":8787",
    ),
}
