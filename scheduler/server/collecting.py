"""What a scheduler's process does about memory: it collects garbage rarely, and gives back what it needs no more."""

from __future__ import annotations

import ctypes
import gc
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..core import Core

#: A scheduler that has had fewer tasks has nothing worth giving back.
_TASKS_MIN: Final = 50_000
#: Tables are gone through when so many times fewer tasks are left: then that takes no long.
_FEWER: Final = 20


def spare_records() -> None:
    """Hardly ever look through the tables for garbage; once everything is set up.

    Records hold no cycles while they live, and a collection that goes through a million of them stops the loop.
    """
    gc.freeze()
    gc.set_threshold(50_000, 2, 10_000)


class Surplus:
    """Notices that most tasks are gone, so that it is worth having their memory given back, which does not happen by itself.

    Examples
    --------
    >>> surplus = Surplus()
    >>> [surplus.note(tasks) for tasks in (1_000_000, 500_000, 20_000, 100, 100, 100)]
    [False, False, False, False, True, False]
    """

    def __init__(self) -> None:
        self._most = 0
        self._last = 0

    def note(self, tasks: int) -> bool:
        """There are so many tasks now; whether to give memory back: not while they are still becoming fewer."""
        falling, self._last = tasks < self._last, tasks
        self._most = max(self._most, tasks)
        if falling or self._most < _TASKS_MIN or tasks * _FEWER > self._most:
            return False
        self._most = tasks
        return True


def give_back(core: Core) -> None:
    """Let the system have the memory that is not used any more."""
    _shrink(core)
    gc.collect()  # also what the interpreter keeps for its next tuples: a few in each of all those pages
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc hoards, and has it
    if trim is not None:
        trim(0)


def _shrink(core: Core) -> None:
    """Make tables as small as what is in them: a dict that was large stays so until it is emptied."""
    tables: list[dict[Any, Any]] = [core.tasks]
    tables += [client.wants for client in core.clients.values()]
    tables += [ws.stored for ws in core.workers.values()]
    for table in tables:
        rows = list(table.items())
        table.clear()
        table.update(rows)
