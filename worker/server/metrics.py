"""What is measured of a worker's process: by itself for the heartbeat, and by its keeper.

The only file that imports psutil, where /proc is missing.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Metrics:
    """Samples of this process.

    Examples
    --------
    >>> sample = Metrics().sample()
    >>> sorted(sample)
    ['cpu', 'memory', 'time']
    >>> sample["memory"] > 0
    True
    """

    def __init__(self) -> None:
        self._cpu_s = time.process_time()
        self._at = time.perf_counter()

    def sample(self) -> dict[str, Any]:
        """Processor use since the last sample in percent of one core, resident bytes, wall clock seconds."""
        cpu_s, at = time.process_time(), time.perf_counter()
        elapsed = max(at - self._at, 1e-6)
        percent = 100.0 * (cpu_s - self._cpu_s) / elapsed
        self._cpu_s, self._at = cpu_s, at
        return {"cpu": percent, "memory": resident_bytes(), "time": time.time()}


def resident_bytes() -> int:
    """Memory of this process that is in RAM, in bytes."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        import psutil  # not at the top: it takes longer to import than everything else here

        return int(psutil.Process().memory_info().rss)


def used_bytes(pid: int) -> int | None:
    """Memory of another process that the system cannot take back, in bytes; None if it has ended.

    Pages of mapped files do not count: they are on disk as well, and go when somebody needs the room. Memory that several
    processes share counts for each.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return None if _STATM.exists() else _used_bytes_elsewhere(pid)
    found = re.findall(rb"^Rss(?:Anon|Shmem):\s+(\d+) kB$", status, re.MULTILINE)
    return 1024 * sum(map(int, found)) if found else None


def _used_bytes_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


class Sight(NamedTuple):
    """What is seen of another process: whether it has been stopped (not by a debugger), and its processor seconds so far."""

    stopped: bool
    cpu_s: float


def look_at(pid: int) -> Sight | None:
    """How another process is; None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None if _STATM.exists() else _look_elsewhere(pid)
    fields = stat.rpartition(b")")[2].split()  # the name before it may hold anything
    if fields[0] in (b"Z", b"X"):
        return None
    return Sight(fields[0] == b"T", (int(fields[11]) + int(fields[12])) / _TICKS_PER_S)


def _look_elsewhere(pid: int) -> Sight | None:
    import psutil

    try:
        process = psutil.Process(pid)
        status, times = process.status(), process.cpu_times()
    except psutil.Error:
        return None
    return None if status == psutil.STATUS_ZOMBIE else Sight(status == psutil.STATUS_STOPPED, times.user + times.system)
