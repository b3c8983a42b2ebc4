"""Tasks that need parts of results (``base/items.py``): what a worker has to fetch for them, and how much that is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ..base.items import is_item
from ..base.keys import Key

if TYPE_CHECKING:
    from .core import Core
    from .state import TaskState

#: Bytes of a part, on average, up to which a worker fetches the whole for all tasks there that need a part of it: to keep
#: books of the part costs more.
SMALL_PART: Final = 256


def to_fetch(key: Key, dep: TaskState) -> tuple[Key, int, int]:
    """What a worker that lacks a result fetches for the sake of an input: a copy of all or of a part, and its size."""
    part = part_of(dep)
    if part <= SMALL_PART or not is_item(key):
        return dep.key, dep.attempt, dep.nbytes
    return key, dep.attempt, part


def needed_by(core: Core, ts: TaskState) -> list[int]:
    """Bytes that a task needs of each result that it depends on."""
    if ts in core.items:
        return sizes(core.items[ts])
    return [dep.nbytes for dep in ts.deps]


def sizes(inputs: Iterable[tuple[Key, TaskState]]) -> list[int]:
    """Bytes that a task needs of each result that it depends on, in their order."""
    needed: dict[TaskState, int] = {}
    for key, dep in inputs:
        needed[dep] = needed.get(dep, 0) + (part_of(dep) if is_item(key) else dep.nbytes)
    return list(needed.values())


def part_of(dep: TaskState) -> int:
    """Bytes of a result that each of its users needs, if each needs another part."""
    return dep.nbytes // dep.live_dependents if dep.live_dependents else dep.nbytes
