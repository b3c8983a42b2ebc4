"""How a worker's process ended, in words: for the log, and for whoever loses a task by it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

from ..base.units import format_bytes
from .memory import KILL
from .process import describe_exit
from .standstill import SILENT_MAX_S, STOPPED_MAX_S

#: Lines of the last words, and characters of each.
LINES_MAX: Final = 20
LINE_CHARS_MAX: Final = 200
#: Of them, those before the report of a crash.
LINES_BEFORE_FATAL: Final = 5
#: How ``faulthandler`` begins that.
_FATAL: Final = "Fatal Python error"

_REASONS: Final = {
    "memory": "for using too much memory",
    "stopped": f"because somebody had stopped it (SIGSTOP) for {STOPPED_MAX_S:g} s",
    "stuck": f"because it had lived, but not answered, for {SILENT_MAX_S:g} s",
}
_CRASHES: Final = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL, -signal.SIGFPE}


@dataclass(frozen=True, slots=True)
class Obituary:
    """What the keeper of a process knows about its end.

    Parameters
    ----------
    pid : int
        Of the process.
    code : int
        Exit code, or minus the number of the signal.
    lasted_s : float
        Seconds that it lived.
    memory : int
        Bytes as last seen; 0 if never.
    memory_limit : int
        Bytes; 0 for none.
    killed_for : str
        Why its keeper killed it, if it did: ``"memory"``, ``"stopped"`` or ``"stuck"``.
    planned : bool
        Whether it was to end, and was killed because it did not.
    last_words : tuple of str
        The last lines that it wrote to stderr.
    running : tuple of int
        The attempts that ran then; none if nobody knows.

    Examples
    --------
    >>> print(Obituary(12, -11, 3.14, 2**30, 2**31, last_words=("Fatal error", "here")).sentence)
    was killed by SIGSEGV (a crash in compiled code) after 3.1 s; it used 1.00 GiB of its limit of 2.00 GiB; its last words:
        Fatal error
        here
    """

    pid: int
    code: int
    lasted_s: float
    memory: int = 0
    memory_limit: int = 0
    killed_for: str = ""
    planned: bool = False
    last_words: tuple[str, ...] = ()
    running: tuple[int, ...] = ()

    @property
    def cause(self) -> str:
        """``"planned"``, what it was ``killed_for``, ``"crash"``, ``"killed"``, ``"signal"`` or ``"exit"``."""
        if self.planned:
            return "planned"
        if self.killed_for:
            return self.killed_for
        if self.code in _CRASHES:
            return "crash"
        if self.code == -signal.SIGKILL:
            return "killed"
        return "signal" if self.code < 0 else "exit"

    @property
    def brief(self) -> str:
        """How it ended."""
        if self.planned:
            return "was stopped on purpose, and killed because it did not close in time"
        return f"was killed by its keeper {_REASONS[self.killed_for]}" if self.killed_for else describe_exit(self.code)

    @property
    def how(self) -> str:
        """How it ended, after how long and with how much memory."""
        text = f"{self.brief} after {self.lasted_s:.1f} s"
        if not self.memory:
            return text
        text += f"; it used {format_bytes(self.memory)}"
        if self.killed_for == "memory":
            return f"{text}, over {KILL:.0%} of its memory limit of {format_bytes(self.memory_limit)}"
        return f"{text} of its limit of {format_bytes(self.memory_limit)}" if self.memory_limit else text

    @property
    def sentence(self) -> str:
        """All that is known."""
        words = "".join(f"\n    {line}" for line in self.last_words)
        return f"{self.how}; its last words:{words}" if words else self.how


def last_lines(output: str, code: int = 0) -> tuple[str, ...]:
    r"""The end of what a process wrote before it ended with ``code``, within bounds.

    Examples
    --------
    >>> last_lines("one\n\n  two \n")
    ('one', '  two')
    """
    lines = [line[:LINE_CHARS_MAX].rstrip() for line in output.splitlines() if line and not line.isspace()]
    start = max(len(lines) - LINES_MAX, 0)
    fatal = [index for index, line in enumerate(lines) if line.startswith(_FATAL)] if code in _CRASHES else []
    if fatal:  # what follows is a stack whose beginning says most
        start = max(min(start, fatal[-1] - LINES_BEFORE_FATAL), 0)
    return tuple(lines[start : start + LINES_MAX])
