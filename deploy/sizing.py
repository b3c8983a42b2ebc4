"""How many workers with how many threads and how much memory each, when the user does not say."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..base.errors import UsageError
from ..base.system import cpu_count
from ..base.system import memory_limit as system_memory
from ..base.units import parse_bytes


@dataclass(frozen=True, slots=True)
class Sizing:
    """Workers on one machine.

    Parameters
    ----------
    workers : int
        Processes.
    threads : int
        Threads of each.
    memory_limit : int
        Bytes each may use; 0 for no limit.
    """

    workers: int
    threads: int
    memory_limit: int


def split_cores(cores: int) -> tuple[int, int]:
    """Processes and threads that use ``cores`` without sharing one GIL among too many.

    Up to 4 cores, one process each; beyond, about the square root, so that neither the number of interpreters nor that
    of threads per GIL grows linearly.

    Examples
    --------
    >>> [split_cores(cores) for cores in (1, 2, 4, 8, 12, 16, 64, 80)]
    [(1, 1), (2, 1), (4, 1), (4, 2), (4, 3), (4, 4), (8, 8), (10, 8)]
    """
    if cores <= 4:
        return cores, 1
    processes = min(n for n in range(1, cores + 1) if cores % n == 0 and n >= math.sqrt(cores))
    return processes, cores // processes


def size(
    n_workers: int | None, threads_per_worker: int | None, memory_limit: int | float | str | None, *, processes: bool
) -> Sizing:
    """Fill in what the user left open.

    Parameters
    ----------
    n_workers, threads_per_worker : int, optional
        What the user asked for. ``n_workers=0`` starts none.
    memory_limit : int, float, str or None
        Per worker: bytes, text like ``"2 GiB"``, ``"auto"`` for this machine's memory times threads over cores,
        or None or 0 for no limit.
    processes : bool
        False: all share this process, so one worker with all threads is the default.

    Raises
    ------
    UsageError
        A number is negative, or the memory limit cannot be read.

    Examples
    --------
    >>> size(2, 3, "1 GiB", processes=True)
    Sizing(workers=2, threads=3, memory_limit=1073741824)
    """
    if n_workers is not None:
        check_whole("n_workers", n_workers, 0)
    if threads_per_worker is not None:
        check_whole("threads_per_worker", threads_per_worker, 1)
    cores = cpu_count()
    if n_workers is None and threads_per_worker is None:
        n_workers, threads_per_worker = split_cores(cores) if processes else (1, cores)
    elif n_workers is None:
        assert threads_per_worker is not None
        n_workers = max(1, cores // threads_per_worker) if processes else 1
    elif threads_per_worker is None:
        threads_per_worker = max(1, math.ceil(cores / n_workers)) if n_workers else 1
    assert threads_per_worker is not None
    return Sizing(n_workers, threads_per_worker, _memory(memory_limit, threads_per_worker, cores))


def check_whole(name: str, value: object, least: int) -> None:
    """UsageError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name}={value!r}: it must be a whole number, at least {least}")


def _memory(limit: int | float | str | None, threads: int, cores: int) -> int:
    if limit is None or limit == 0:
        return 0
    if limit == "auto":
        return int(system_memory() * min(1.0, threads / cores))
    if isinstance(limit, float) and 0 < limit <= 1:
        return int(system_memory() * limit)
    return parse_bytes(limit)
