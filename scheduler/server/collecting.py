"""What a scheduler's process does about memory: it collects garbage rarely, and gives back what it needs no more."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..core import Core

#: A scheduler that has had fewer tasks has nothing worth giving back.
_TASKS_MIN: Final = 50_000
#: Tables are gone through when so many times fewer tasks are left: then that takes no long.
_FEWER: Final = 20
#: So many objects are looked at for what can be made anew, at most: those near the beginning are what lives long.
_HOLDERS_MAX: Final = 5_000
#: Where objects of ours come from.
_OURS: Final = __name__.partition(".")[0] + "."
_CONTAINERS: Final = (list, dict, tuple, set, deque)


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


def renew(holder: object) -> int:
    """Make small things anew that were made while there were many tasks, and return how many. No other thread may use them.

    Python gives memory back by the megabyte, and one number that lies there keeps it. So the numbers and the empty lists and
    dicts that our objects hold, from ``holder`` on, are replaced by others like them, which come to lie beside each other.

    Examples
    --------
    >>> from ..core import Core
    >>> core = Core(1, "00" * 16, "tcp://127.0.0.1:8786")
    >>> renew(core) > 10
    True
    """
    renewed = 0
    waiting, seen = deque([holder]), {id(holder)}
    while waiting and len(seen) < _HOLDERS_MAX:
        one = waiting.popleft()
        if str(type(one).__module__).startswith(_OURS):
            renewed += sum([_renew(one, name) for name in _names(one)])
        elif type(one) not in _CONTAINERS:
            continue
        for other in gc.get_referents(one):
            if gc.is_tracked(other) and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
    return renewed


def _names(one: object) -> Iterator[str]:
    for kind in type(one).__mro__:
        yield from kind.__dict__.get("__slots__", ())
    yield from list(getattr(one, "__dict__", ()))


def _renew(one: object, name: str) -> bool:
    alone = _references(one, name) == _ALONE
    value = getattr(one, name, None)
    kind = type(value)
    if kind is int or kind is float:
        new = value + kind(0)  # another object, unless it is one that Python keeps for ever
    elif (kind is list or kind is dict) and alone and not value:
        new = kind()
    else:
        return False
    object.__setattr__(one, name, new)  # also where nothing else may
    return True


def _references(one: object, name: str) -> int:
    """To the value of an attribute, and a few while this looks."""
    value = getattr(one, name, None)
    return sys.getrefcount(value)


#: What ``_references`` says of a value that nobody else refers to.
_ALONE: Final = _references(SimpleNamespace(value=[]), "value")


def _shrink(core: Core) -> None:
    """Make tables as small as what is in them: a dict that was large stays so until it is emptied."""
    tables: list[dict[Any, Any]] = [core.tasks]
    tables += [client.wants for client in core.clients.values()]
    tables += [ws.stored for ws in core.workers.values()]
    for table in tables:
        rows = list(table.items())
        table.clear()
        table.update(rows)
