"""The memory limit of a worker, kept from outside: it holds while a task sits on the interpreter lock in C."""

from __future__ import annotations

import logging
from typing import Final

from ..base.units import format_bytes

logger = logging.getLogger(__name__)

#: Of the limit: a worker above is warned of, once, until it has been below ``CALM`` again.
WARN: Final = 0.80
CALM: Final = 0.70
#: Of the limit: a worker above is killed, before the system chooses whom to kill.
KILL: Final = 0.95
#: Seconds between two looks. Reading costs some 30 µs.
SAMPLE_S: Final = 0.25

#: What to do about a worker that outgrew its limit.
ADVICE: Final = (
    "give workers more memory (LocalCluster(memory_limit=...), myworker --memory-limit), or fewer threads each, or split "
    "the work into smaller tasks; a limit of 0 turns this off"
)


class MemoryWatch:
    """What is known about the memory of one process.

    Parameters
    ----------
    name : str
        Of what is watched, for the log.
    limit : int
        Bytes; 0 for no limit.

    Examples
    --------
    >>> watch = MemoryWatch("worker 3", 1000)
    >>> watch.exceeded_by(700), watch.exceeded_by(960)
    (False, True)
    >>> watch.last
    960
    """

    def __init__(self, name: str, limit: int) -> None:
        self.limit = limit
        #: bytes, as last seen; 0 before the first look
        self.last = 0
        self._name = name
        self._warned = False

    def exceeded_by(self, nbytes: int) -> bool:
        """Take in how much is used; whether that is too much to let it go on."""
        self.last = nbytes
        if not self.limit:
            return False
        if nbytes > KILL * self.limit:
            return True
        if nbytes > WARN * self.limit:
            self._warn()
        elif nbytes < CALM * self.limit:
            self._warned = False
        return False

    def _warn(self) -> None:
        if self._warned:
            return
        self._warned = True
        logger.warning(
            "%s uses %s, over %.0f %% of its memory limit of %s; above %.0f %% it is killed and replaced. What helps: %s",
            *(self._name, format_bytes(self.last), 100 * WARN, format_bytes(self.limit), 100 * KILL, ADVICE),
        )
