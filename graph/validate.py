"""Whether a graph can run, and whether two tasks are the same. Messages name the keys."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any, NoReturn

from ..base.errors import GraphError
from ..base.keys import Key, validate_key
from .task import Task, dependents
from .tokenize import tokenize

_SHOWN = 20


def check(graph: Mapping[Key, Task], external: Container[Key] = ()) -> None:
    """Raise unless the graph can run.

    Parameters
    ----------
    graph : mapping of Key to Task
        What is to be run.
    external : container of Key
        Keys of results that exist elsewhere and may be referred to.

    Raises
    ------
    GraphError
        A task needs a key that is neither in the graph nor external, or tasks need each other in a circle.
    KeyTypeError
        A key cannot name a task.

    Examples
    --------
    >>> from myscheduler.base.refs import TaskRef
    >>> check({"x": Task(abs, (TaskRef("y"),))})
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.GraphError: task 'x' needs 'y', which is neither in the graph nor a future that is held
    """
    check_inputs(graph, external)
    check_acyclic(graph)


def check_inputs(graph: Mapping[Key, Task], external: Container[Key] = ()) -> None:
    """Raise unless all that the tasks need is there; ``order`` finds out whether they need each other in a circle.

    Examples
    --------
    >>> check_inputs({"x": Task(abs, (), {}, ("x",))})
    """
    for key, task in graph.items():
        validate_key(key)
        for dependency in task.dependencies:
            if dependency not in graph and dependency not in external:
                validate_key(dependency)
                raise GraphError(
                    f"task {key!r} needs {dependency!r}, which is neither in the graph nor a future that is held"
                )


def check_acyclic(graph: Mapping[Key, Task]) -> None:
    """Raise if tasks need each other in a circle.

    Examples
    --------
    >>> check_acyclic({"x": Task(abs, (), {}, ("x",))})
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.GraphError: the graph has a cycle, each task needs the next: 'x' -> 'x'
    """
    users = dependents(graph)
    missing = {key: sum([dependency in graph for dependency in task.dependencies]) for key, task in graph.items()}
    ready = [key for key, count in missing.items() if not count]
    for key in ready:
        for user in users[key]:
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    if len(ready) < len(missing):
        raise_cycle(graph)


def check_wanted(graph: Mapping[Key, Task], keys: Iterable[Any]) -> None:
    """Raise unless all of ``keys`` are in the graph.

    Examples
    --------
    >>> check_wanted({"x": Task(int)}, ["y"])
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.GraphError: 'y' is wanted but not in the graph
    """
    for key in keys:
        if validate_key(key) not in graph:
            raise GraphError(f"{key!r} is wanted but not in the graph")


def raise_cycle(graph: Mapping[Key, Task]) -> NoReturn:
    """Find a cycle in a graph that has one, and raise the error that shows it."""
    finished: dict[Key, None] = {}
    for start in graph:
        # A path is a dict in order: where we came from, and whether we have been there.
        path: dict[Key, list[Key]] = {}
        key = start
        while True:
            if key in path:
                keys = list(path)
                _raise_cycle(keys[keys.index(key) :])
            if key not in finished:
                path[key] = [d for d in graph[key].dependencies if d in graph]
            while path and not path[key := next(reversed(path))]:
                finished[key] = None
                path.popitem()
            if not path:
                break
            key = path[key].pop()
    raise GraphError("the graph has no cycle")


def _raise_cycle(cycle: list[Key]) -> NoReturn:
    shown = [repr(key) for key in [*cycle, cycle[0]]]
    if len(shown) > _SHOWN:
        shown = [*shown[: _SHOWN - 2], f"... {len(shown) - _SHOWN + 1} more ...", shown[-1]]
    raise GraphError(f"the graph has a cycle, each task needs the next: {' -> '.join(shown)}")


def check_same(key: Key, one: Task, other: Task) -> None:
    """Raise unless two tasks under one key are the same call."""
    if one is other:
        return
    if one.dependencies == other.dependencies and tokenize(one.func, one.args, one.kwargs) == tokenize(
        other.func, other.args, other.kwargs
    ):
        return
    raise GraphError(
        f"two different tasks have the key {key!r}: {_call(one)} and {_call(other)}; give one another name"
    )


def _call(task: Task) -> str:
    name = getattr(task.func, "__name__", None) or type(task.func).__name__
    return f"{name}(...)"
