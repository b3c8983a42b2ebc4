"""The state of one run of a graph: what is ready, what is alive, what is still to do. Pure: runs no task, holds no lock.

Whoever drives it takes ranks, runs their tasks and reports values; ranks are the positions in the static order, so that
the lowest is always the best to run next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

from ..base.errors import UsageError
from ..base.keys import Key
from ..base.refs import TaskRef
from ..graph.arguments import bind, find_refs
from ..graph.delayed import Delayed
from ..graph.optimize import cull
from ..graph.order import order
from ..graph.task import Graph
from ..graph.validate import check, check_wanted


class Watch(Protocol):
    """Somebody who is told what happens in a run."""

    def begins(self, run: Run, rank: int) -> None:
        """A task is about to run."""

    def ends(self, run: Run, rank: int, value: Any) -> None:
        """A task has its value."""


class Run:
    """One run of a graph.

    Parameters
    ----------
    graph : Graph
        The tasks; those that ``keys`` do not need are left out.
    keys : list of Key
        Whose values are wanted.
    watch : Watch, optional
        Is told of every task, by whoever calls ``take`` and ``finish``.

    Raises
    ------
    GraphError
        The graph has a cycle, or a key is missing.
    UsageError
        A task needs a future, whose value lives on a cluster.

    Examples
    --------
    >>> from myscheduler.graph.task import Task
    >>> run = Run({"x": Task(abs, (-1,)), "y": Task(str, (TaskRef("x"),))}, ["y"])
    >>> while run.ready:
    ...     rank = run.take()
    ...     func, args, kwargs = run.call(rank)
    ...     run.finish(rank, func(*args, **kwargs))
    >>> run.values()
    ['1']
    """

    __slots__ = (
        "_inputs",
        "_left",
        "_users",
        "_waiting",
        "keys",
        "ready",
        "results",
        "tasks",
        "unfinished",
        "wanted",
        "watch",
    )

    def __init__(self, graph: Graph, keys: Iterable[Key], watch: Watch | None = None) -> None:
        self.wanted = list(keys)
        check_wanted(graph, self.wanted)
        graph = cull(graph, self.wanted)
        _check_local(graph)
        ranks = order(graph)
        self.keys = list(ranks)
        self.tasks = [graph[key] for key in ranks]
        count = len(self.keys)
        self._users: list[list[int]] = [[] for _ in range(count)]
        self._inputs = [[ranks[key] for key in task.dependencies] for task in self.tasks]
        for rank, inputs in enumerate(self._inputs):
            for dependency in inputs:
                self._users[dependency].append(rank)
        self._waiting = [len(inputs) for inputs in self._inputs]
        # A wanted result has one user more, who never finishes.
        self._left = [len(users) for users in self._users]
        for key in self.wanted:
            self._left[ranks[key]] += 1
        #: ranks that can run, as a heap
        self.ready = [rank for rank, missing in enumerate(self._waiting) if not missing]
        heapify(self.ready)
        #: results that are wanted or still needed
        self.results: dict[Key, Any] = {}
        self.unfinished = count
        self.watch = watch

    def take(self) -> int:
        """The rank to run next; only if there is one ready."""
        rank = heappop(self.ready)
        if self.watch is not None:
            self.watch.begins(self, rank)
        return rank

    def call(self, rank: int) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The function and its arguments, with the results of other tasks put in."""
        task = self.tasks[rank]
        if task.dependencies:
            return (task.func, *bind(task.args, task.kwargs, self.results))
        return task.func, task.args, task.kwargs

    def finish(self, rank: int, value: Any) -> None:
        """Note the value of a task: what it frees is dropped, what it makes possible is ready."""
        left, waiting, results = self._left, self._waiting, self.results
        results[self.keys[rank]] = value
        self.unfinished -= 1
        for dependency in self._inputs[rank]:
            left[dependency] -= 1
            if not left[dependency]:
                del results[self.keys[dependency]]
        for user in self._users[rank]:
            waiting[user] -= 1
            if not waiting[user]:
                heappush(self.ready, user)
        if self.watch is not None:
            self.watch.ends(self, rank, value)

    def waiting(self) -> list[Key]:
        """The tasks that cannot run yet."""
        return [key for key, missing in zip(self.keys, self._waiting, strict=True) if missing]

    def values(self) -> list[Any]:
        """What was wanted, in order, once nothing is unfinished."""
        return [self.results[key] for key in self.wanted]


def _check_local(graph: Graph) -> None:
    for key, task in graph.items():
        for dependency in task.dependencies:
            if dependency not in graph:
                ref = find_refs(task.args, task.kwargs).get(dependency)
                if ref is not None and type(ref) is not TaskRef and not isinstance(ref, Delayed):
                    raise UsageError(
                        f"task {key!r} needs the {type(ref).__name__} {dependency!r}, whose value lives on a cluster; run it "
                        "there (scheduler=client), or pass the value: future.result()"
                    )
                check(graph)
