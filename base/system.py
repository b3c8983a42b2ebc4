"""What this process may use of the machine: processors and memory, as limited by affinity and control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from .units import parse_bytes


def cpu_count(root: str = "/") -> int:
    """Processors this process may use, at least 1: the least of those present, its affinity and its cgroups' quotas.

    Parameters
    ----------
    root : str
        Where ``/proc`` and ``/sys`` are found.

    Returns
    -------
    int
        A quota of one and a half processors counts as 2.

    Examples
    --------
    >>> cpu_count() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quotas = [*_limits(root, "", "cpu.max", _quota_v2), *_limits(root, "cpu", "cpu.cfs_quota_us", _quota_v1)]
    return max(1, min([count, *(math.ceil(quota) for quota in quotas)]))


def memory_limit(root: str = "/") -> int:
    """Bytes of memory this process may use: the least of the machine's and its cgroups' limits.

    Parameters
    ----------
    root : str
        Where ``/proc`` and ``/sys`` are found.

    Returns
    -------
    int
        Bytes.

    Examples
    --------
    >>> memory_limit() > 0
    True
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [
        *_limits(root, "", "memory.max", _number),
        *_limits(root, "memory", "memory.limit_in_bytes", _number),
    ]
    return min([physical, *(int(limit) for limit in limits)])


def memory_share(limit: float | str | None, nthreads: int) -> int:
    """Bytes of memory a worker may use.

    Parameters
    ----------
    limit : int, float, str or None
        Bytes, ``"4 GiB"``, a float up to 1.0 for that part of what this process may use, ``"auto"`` for a part of it as
        large as the worker's part of the processors, None or 0 for no limit.
    nthreads : int
        Threads of the worker.

    Returns
    -------
    int
        Bytes; 0 for no limit.

    Raises
    ------
    UsageError
        The text is no amount of bytes.

    Examples
    --------
    >>> memory_share("2 GiB", nthreads=1)
    2147483648
    >>> memory_share("auto", nthreads=cpu_count()) == memory_share(1.0, nthreads=1) == memory_limit()
    True
    """
    if limit is None:
        return 0
    available = memory_limit()
    if limit == "auto":
        return min(available, available * nthreads // cpu_count())
    if isinstance(limit, float) and 0 < limit <= 1:
        return int(available * limit)
    return parse_bytes(limit)


def _limits(root: str, controller: str, name: str, read: Callable[[Path], float | None]) -> Iterator[float]:
    """Every limit ``name`` that applies: a process obeys its own cgroup and all that contain it.

    ``controller`` is a controller of cgroup v1, or empty for the one hierarchy of v2.
    """
    mount = Path(root, "sys/fs/cgroup", controller)
    group = _own_group(root, controller)
    if group is None:
        return
    # In a container the path may name directories outside of it; then only the mount's own file is there.
    for directory in (group, *group.parents):
        limit = read(mount / str(directory).lstrip("/") / name)
        if limit is not None and limit > 0:
            yield limit


def _own_group(root: str, controller: str) -> Path | None:
    try:
        lines = Path(root, "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # no cgroups here
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(path)
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:  # this level sets no limit
        return []


def _number(path: Path) -> float | None:
    words = _words(path)
    return float(words[0]) if words and words[0].isdigit() else None


def _quota_v2(path: Path) -> float | None:
    words = _words(path)
    if len(words) != 2 or not words[0].isdigit() or not words[1].isdigit():
        return None
    return int(words[0]) / int(words[1])


def _quota_v1(path: Path) -> float | None:
    quota, period = _number(path), _number(path.with_name("cpu.cfs_period_us"))
    return quota / period if quota and period else None
