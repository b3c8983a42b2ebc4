"""Tasks that need parts of results (``base/items.py``): what a worker has to fetch for them, and how much that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ..base.items import base_of, is_item
from ..base.keys import Key

if TYPE_CHECKING:
    from .core import Core
    from .state import TaskState

#: Bytes of a part, on average, up to which a worker fetches the whole for all tasks there that need a part of it: to keep
#: books of the part costs more.
SMALL_PART: Final = 1024


def to_fetch(key: Key, dep: TaskState) -> tuple[Key, int, int]:
    """What a worker that lacks a result fetches for the sake of an input: a copy of all or of a part, and its size."""
    part = part_of(dep)
    if part <= SMALL_PART or not is_item(key):
        return dep.key, dep.attempt, dep.nbytes
    return key, dep.attempt, part


def needed_by(core: Core, ts: TaskState) -> list[int]:
    """Bytes that a task needs of each result that it depends on."""
    if ts in core.items:
        return core.items[ts].sizes()
    return [dep.nbytes for dep in ts.deps]


class Inputs:
    """What a task needs, if that is more than results that the scheduler knows.

    Parameters
    ----------
    keys : tuple of Key
        Keys and items.
    tasks : mapping of Key to TaskState
        All that the scheduler knows.

    Attributes
    ----------
    deps : tuple of TaskState
        What the task depends on.
    missing : list of Key
        What it depends on as well, and nobody knows.
    has_items : bool
        Whether there are items among the keys.
    """

    __slots__ = ("deps", "has_items", "keys", "makers", "missing")

    def __init__(self, keys: tuple[Key, ...], tasks: Mapping[Key, TaskState]) -> None:
        bases = list(map(base_of, keys))
        self.missing = [base for base in bases if base not in tasks]
        self.has_items = bases != list(keys)
        self.keys = tuple([key for key, base in zip(keys, bases, strict=True) if base in tasks])
        #: of each of the keys
        self.makers = tuple([tasks[base] for base in bases if base in tasks])
        self.deps = tuple(dict.fromkeys(self.makers))

    def sizes(self) -> list[int]:
        """Bytes that are needed of each of ``deps``."""
        needed: dict[TaskState, int] = {}
        for key, dep in zip(self.keys, self.makers, strict=True):
            nbytes = part_of(dep) if is_item(key) else dep.nbytes
            needed[dep] = needed[dep] + nbytes if dep in needed else nbytes
        return list(needed.values())


def part_of(dep: TaskState) -> int:
    """Bytes of a result that each of its users needs, if each needs another part."""
    return dep.nbytes // dep.live_dependents if dep.live_dependents else dep.nbytes
