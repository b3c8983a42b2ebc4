"""Processes as the system sees them: which are ours, what they hold, and what is left of them."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

#: In the environment of everything that one lane starts, so that it is found again even if its parent has died.
MARK = "MYSCHEDULER_FAULTS_LANE"


def mark() -> str:
    """Mark this process and all that it will start from now on."""
    token = secrets.token_hex(8)
    os.environ[MARK] = token
    return token


def marked(token: str) -> list[int]:
    """All processes with this mark that still run, but not this one, nor the standard library's helpers."""
    needle = f"{MARK}={token}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
        except OSError:  # it has ended, or is not ours
            continue
        if needle in environment.split(b"\0") and b"multiprocessing" not in command and runs(int(entry.name)):
            found.append(int(entry.name))
    return found


def runs(pid: int) -> bool:
    """Whether a process exists and is no zombie that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def descriptors(pid: int) -> int:
    """Open descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def command_line(pid: int) -> str:
    """For messages."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return "?"


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal, if the process is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def end_all(pids: Iterable[int]) -> None:
    """Kill these processes; frozen ones too."""
    for pid in pids:
        kill(pid)
