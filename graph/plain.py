"""Graphs as plain dicts of tuples, as dask's users write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..base.errors import GraphError
from ..base.keys import Key, validate_key
from ..base.refs import TaskRef
from .task import Graph, Task, identity


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
    graph: Graph = {}
    for key, value in dsk.items():
        graph[validate_key(key)] = _task(key, value, dsk)
    return graph


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


def _task(key: Key, value: Any, dsk: Mapping[Any, Any]) -> Task:
    if isinstance(value, Task):
        return value
    if _is_call(value):
        func, args = value[0], tuple([_argument(arg, dsk) for arg in value[1:]])
        if any(_holds_call(arg) for arg in args):
            return Task(run_call, (Call(func, list(args)),))
        return Task(func, args)
    if _is_key(value, dsk) and value != key:
        return Task(identity, (TaskRef(value),))
    inner = _argument(value, dsk, itself=key)
    return Task(_value_of, (inner,)) if _holds_call(inner) else Task(identity, (inner,))


def _argument(item: Any, dsk: Mapping[Any, Any], itself: Any = None) -> Any:
    if _is_call(item):
        return Call(item[0], [_argument(arg, dsk) for arg in item[1:]])
    if _is_key(item, dsk) and not (itself is not None and item == itself):
        return TaskRef(item)
    kind = type(item)
    if kind in (list, tuple, set, frozenset):
        return kind([_argument(part, dsk) for part in item])
    if kind is dict:
        return {key: _argument(value, dsk) for key, value in item.items()}
    return item


def _is_call(item: Any) -> bool:
    return type(item) is tuple and bool(item) and callable(item[0])


def _is_key(item: Any, dsk: Mapping[Any, Any]) -> bool:
    # By exact type: True is no key although it equals 1.
    if type(item) not in (str, bytes, int, float, tuple):
        return False
    try:
        return item in dsk
    except TypeError:  # a tuple that holds a list is data
        return False


def _holds_call(item: Any) -> bool:
    kind = type(item)
    if kind is Call:
        return True
    if kind in (list, tuple, set, frozenset):
        return any(_holds_call(part) for part in item)
    return kind is dict and any(_holds_call(value) for value in item.values())
