"""Graphs as plain dicts of tuples, as dask's users write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..base.errors import GraphError
from ..base.keys import Key, validate_key
from ..base.refs import TaskRef
from .arguments import ATOMS, find_refs
from .task import Graph, Task, identity

#: Types that keys have, each exactly.
_KEYS: Final = frozenset({str, bytes, int, float, tuple})


def from_plain(dsk: Mapping[Any, Any]) -> Graph:
    """Turn a graph of plain Python objects into tasks.

    A value of the dict is a *task* if it is a tuple that starts with a callable; its other items are the arguments.
    Arguments are keys of the graph, tasks again (which run as part of the same task), lists, tuples, sets and dicts of
    arguments, or values. What equals a key of the graph means that key's result. A value of the dict that is no task is an
    alias if it equals a key, else data.

    Parameters
    ----------
    dsk : mapping
        The plain graph; values may also be ``Task`` objects.

    Returns
    -------
    Graph
        The same as tasks.

    Raises
    ------
    KeyTypeError
        A key cannot name a task.
    GraphError
        ``dsk`` is no mapping.

    Examples
    --------
    >>> from operator import add
    >>> graph = from_plain({"x": 1, "y": (add, "x", (add, "x", 10)), "z": "y"})
    >>> graph["y"].dependencies, graph["z"].dependencies
    (('x',), ('y',))
    """
    if not isinstance(dsk, Mapping):
        raise GraphError(f"a graph is a dict of keys to tasks, not a {type(dsk).__name__}")
    reader = _Reader({validate_key(key): TaskRef(key) for key in dsk})
    return {key: reader.flat_call(value) or reader.task(key, value) for key, value in dsk.items()}


@dataclass(slots=True)
class Call:
    """A call inside the arguments of a task, made when that task runs. A dataclass, so that references are found in it."""

    func: Callable[..., Any]
    args: list[Any]


def run_call(call: Call) -> Any:
    """Make a call whose arguments hold calls."""
    return call.func(*[_value_of(arg) for arg in call.args])


def _value_of(item: Any) -> Any:
    kind = type(item)
    if kind is Call:
        return run_call(item)
    if kind in (list, tuple, set, frozenset):
        return kind([_value_of(part) for part in item])
    if kind is dict:
        return {key: _value_of(value) for key, value in item.items()}
    return item


class _Reader:
    """Reads the values of a graph, one after the other.

    Parameters
    ----------
    refs : dict of Key to TaskRef
        What stands for the results of the graph's keys.
    """

    __slots__ = ("_calls", "_found", "_refs")

    def __init__(self, refs: dict[Key, TaskRef]) -> None:
        self._refs = refs
        # Of the value that is being read: the references in it, in order of first appearance, and whether it holds calls.
        self._found: dict[Key, TaskRef] = {}
        self._calls = False

    def flat_call(self, value: Any) -> Task | None:
        """The task of a call whose arguments are keys and plain values, as those of most tasks are; else None."""
        if type(value) is not tuple or not value or not callable(value[0]):
            return None
        refs = self._refs
        args: list[Any] = []
        found: dict[Key, None] = {}
        for item in value[1:]:
            kind = type(item)
            if kind in ATOMS:
                ref = refs.get(item) if kind in _KEYS else None
                if ref is None:
                    args.append(item)
                else:
                    found[ref.key] = None
                    args.append(ref)
            else:
                return None
        return Task(value[0], tuple(args), None, tuple(found))

    def task(self, key: Key, value: Any) -> Task:
        """The task that the value of ``key`` describes."""
        self._found, self._calls = {}, False
        if _is_call(value):
            func, args = value[0], tuple(self._arguments(value[1:]))
            if self._calls:
                func, args = run_call, (Call(func, list(args)),)
        elif isinstance(value, Task):
            return value
        else:
            # A key that stands for itself is data.
            args = (self._container(value) if type(value) in _KEYS and value == key else self._arguments((value,))[0],)
            func = _value_of if self._calls else identity
        return Task(func, args, None, tuple(self._found))

    def _arguments(self, items: Iterable[Any]) -> list[Any]:
        refs, found = self._refs, self._found
        new: list[Any] = []
        for item in items:
            kind = type(item)
            try:
                ref = refs.get(item) if kind in _KEYS else None  # exactly: True is no key although it equals 1
            except TypeError:
                ref = None  # a tuple that holds a list is data
            if ref is not None:
                found[ref.key] = ref
                new.append(ref)
            else:
                new.append(item if kind in ATOMS else self._container(item))
        return new

    def _container(self, item: Any) -> Any:
        kind = type(item)
        if _is_call(item):
            self._calls = True
            return Call(self._other(item[0]), self._arguments(item[1:]))
        if kind in (list, tuple):
            return kind(self._arguments(item))
        if kind in (set, frozenset):
            # A set has no order of its own that would be the same tomorrow.
            return kind(self._arguments(sorted(item, key=repr)))
        if kind is dict:
            return dict(zip(map(self._other, item), self._arguments(item.values()), strict=True))
        return self._other(item)

    def _other(self, item: Any) -> Any:
        """What stays as it is, but may hold references already."""
        for key, ref in find_refs((item,)).items():
            self._found.setdefault(key, ref)
        return item


def _is_call(item: Any) -> bool:
    return type(item) is tuple and bool(item) and callable(item[0])
