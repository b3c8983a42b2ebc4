"""Tasks that do nothing but take a part of a result: they need not run, whoever needs the part can take it.

In an all-to-all, each of many tasks makes a part for each of many others, and between every two of them stands a task that
takes the part out: most of the graph, and nothing in it but ``operator.getitem``. What remains without those are the tasks
that do something, with *items* (``base/items.py``) among their inputs.

A result is kept until its last part has been taken. So this is done only where it would be kept as long anyway: ``order``
has the parts of a result with few users taken at once, and those of one with many when they are needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from itertools import chain
from operator import getitem
from typing import Final

from ..base.items import make_item
from ..base.keys import Key
from ..base.refs import TaskRef
from .order import FEW_USERS
from .task import Graph, Task

#: Longer words are data, not names of parts.
_INDEX_CHARS_MAX: Final = 256
_INT64: Final = range(-(2**63), 2**63)


def find_items(graph: Mapping[Key, Task], wanted: Container[Key]) -> dict[Key, Key]:
    """The tasks that need not run, each with the item that takes its place.

    Parameters
    ----------
    graph : mapping of Key to Task
        What is to be run.
    wanted : container of Key
        Tasks whose results somebody wants to have.

    Returns
    -------
    dict of Key to Key

    Examples
    --------
    >>> rows = TaskRef("rows")
    >>> graph = {"rows": Task(list, ("abcdefghi",))}
    >>> graph |= {f"part-{i}": Task(getitem, (rows, i)) for i in range(9)}
    >>> graph |= {f"use-{i}": Task(str.upper, (TaskRef(f"part-{i}"),)) for i in range(9)}
    >>> len(find_items(graph, {"use-0": None})), find_items(graph, {"part-0": None})
    (9, {})
    """
    takers = {key: task for key, task in graph.items() if task.func is getitem and _takes_a_part(task)}
    if not takers:
        return {}
    users = Counter(chain.from_iterable([task.dependencies for key, task in graph.items() if key not in takers]))
    counts: dict[Key, int] = {}
    others = dict.fromkeys(users)  # results of which somebody needs the whole, or a part as a result of its own
    for key, task in takers.items():
        base = task.args[0].key
        counts[base] = counts.get(base, 0) + 1
        if users.get(key) != 1 or key in wanted:
            others[base] = None
    for base in counts:
        if base in takers:
            others[base] = others[takers[base].args[0].key] = None
    split = {
        base: None
        for base, count in counts.items()
        if count > FEW_USERS and base not in others and base in graph and base not in wanted
    }
    return {
        key: make_item(key, base, task.args[1]) for key, task in takers.items() if (base := task.args[0].key) in split
    }


def _takes_a_part(task: Task) -> bool:
    """Whether it is ``ref[index]`` with a plain index, and nothing was said of how to run it."""
    if len(task.args) != 2 or task.kwargs or task.options is not None or not isinstance(task.args[0], TaskRef):
        return False
    index = task.args[1]
    if type(index) is int:
        return index in _INT64
    return type(index) is str and len(index) <= _INDEX_CHARS_MAX


def without(graph: Mapping[Key, Task], items: Mapping[Key, Key]) -> Graph:
    """The graph of the tasks that run: who took a part depends on what it is a part of.

    Examples
    --------
    >>> graph = {"x": Task(list), "y": Task(getitem, (TaskRef("x"), 0)), "z": Task(abs, (TaskRef("y"),))}
    >>> rest = without(graph, {"y": make_item("y", "x", 0)})
    >>> list(rest), rest["z"].dependencies
    (['x', 'z'], ('x',))
    """
    rest: Graph = {}
    for key, task in graph.items():
        if key in items:
            continue
        if items.keys().isdisjoint(task.dependencies):
            rest[key] = task
        else:
            bases = [graph[dep].dependencies[0] if dep in items else dep for dep in task.dependencies]
            rest[key] = Task(task.func, task.args, task.kwargs, tuple(dict.fromkeys(bases)), task.options)
    return rest
