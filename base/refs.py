"""References to results inside arguments.

A ``TaskRef`` stands for the result of another task. While a call is being pickled, every reference met at any depth
(in lists, dataclasses, closures, objects of the user) is written down as a dependency; while it is unpickled on the
worker, the reference is replaced by the value. Both work through ``__reduce_ex__``, so nothing is paid for arguments
without references, and no container type has to be known to us.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Final, SupportsIndex

from .errors import UsageError
from .keys import Key


class _Context(threading.local):
    collected: dict[Key, TaskRef] | None = None
    inputs: Mapping[Key, Any] | None = None


_context = _Context()


class TaskRef:
    """Stands for the result of the task ``key`` inside the arguments of another task.

    Parameters
    ----------
    key : Key
        The key of the task whose result is meant.

    Examples
    --------
    >>> import pickle
    >>> with collecting() as found:
    ...     data = pickle.dumps({"a": [TaskRef("x")]})
    >>> list(found)
    ['x']
    """

    __slots__ = ("__weakref__", "key")

    key: Key

    def __init__(self, key: Key) -> None:
        self.key = key

    def __repr__(self) -> str:
        return f"TaskRef({self.key!r})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        collected = _context.collected
        if collected is None:
            return self.reduce_outside_call()
        key = self.key
        collected.setdefault(key, self)
        return (_resolve, (key,))

    def reduce_outside_call(self) -> tuple[Any, ...]:
        """How to pickle the reference itself, when it is not an argument of a task."""
        return (TaskRef, (self.key,))


@contextmanager
def collecting() -> Iterator[dict[Key, TaskRef]]:
    """Collect the references that are pickled in this block by this thread, in order of first appearance."""
    outer, _context.collected = _context.collected, {}
    try:
        yield _context.collected
    finally:
        _context.collected = outer


def _resolve(key: Key) -> Any:
    inputs = _context.inputs
    if inputs is None:
        raise UsageError(f"the arguments of a task that needs {key!r} were unpickled outside of a worker")
    return inputs[key]


# ---- many at a time -------------------------------------------------------------------------------------------------

#: From so many items on, it is worth while to look for references that follow each other.
MANY: Final = 8
LISTS: Final = frozenset({list, tuple})
_key_of: Final = attrgetter("key")


def bundled(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same for pickle, with long lists and tuples of references written down as one thing each.

    This is for the arguments themselves, and lists and tuples among them: there, references come in hundreds.

    Parameters
    ----------
    args : tuple
        Arguments; are not changed.

    Returns
    -------
    tuple
        Or what becomes one when it is unpickled.
    """
    if not LISTS.isdisjoint(map(type, args)):
        made: dict[int, Any] = {}  # by id, so that a list that is given twice is one list on the worker as well
        for arg in args:
            if type(arg) in LISTS and len(arg) >= MANY and id(arg) not in made:
                made[id(arg)] = _bundle(arg)
        if made:
            args = tuple([made.get(id(arg), arg) for arg in args])
    return _bundle(args) if len(args) >= MANY else args


def _bundle(items: Any) -> Any:
    kinds = list(map(type, items))
    for kind in dict.fromkeys(kinds):
        if issubclass(kind, TaskRef) and kind.__reduce_ex__ is TaskRef.__reduce_ex__:
            count, start = kinds.count(kind), kinds.index(kind)
            stop = start + count
            if count < MANY or kinds[start:stop].count(kind) < count:
                return items
            return _Bundle(type(items), tuple(items[:start]), items[start:stop], tuple(items[stop:]))
    return items


class _Bundle:
    """Pickles as a list or tuple in which references follow each other, and other things stand before and behind."""

    __slots__ = ("after", "before", "kind", "refs")

    def __init__(self, kind: type, before: tuple[Any, ...], refs: Sequence[TaskRef], after: tuple[Any, ...]) -> None:
        self.kind = kind
        self.before = before
        self.refs = refs
        self.after = after

    def __reduce__(self) -> tuple[Any, ...]:
        keys = tuple(map(_key_of, self.refs))
        collected = _context.collected
        assert collected is not None
        for key, ref in zip(keys, self.refs, strict=True):
            collected.setdefault(key, ref)
        return (_resolve_tuple if self.kind is tuple else _resolve_list, (self.before, keys, self.after))


def _resolve_list(before: tuple[Any, ...], keys: tuple[Key, ...], after: tuple[Any, ...]) -> list[Any]:
    inputs = _context.inputs
    return [*before, *map(_resolve if inputs is None else inputs.__getitem__, keys), *after]


def _resolve_tuple(before: tuple[Any, ...], keys: tuple[Key, ...], after: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_resolve_list(before, keys, after))
