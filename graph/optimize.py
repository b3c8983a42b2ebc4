"""Making graphs smaller without changing what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, Final, TypeAlias

from ..base.errors import GraphError
from ..base.keys import Key
from .arguments import bind
from .task import Graph, Task


def cull(graph: Mapping[Key, Task], keys: Iterable[Key]) -> Graph:
    """Keep what ``keys`` need.

    Raises
    ------
    GraphError
        One of ``keys`` is not in the graph.

    Examples
    --------
    >>> list(cull({"x": Task(int), "y": Task(int)}, ["y"]))
    ['y']
    """
    stack = list(keys)
    for key in stack:
        if key not in graph:
            raise GraphError(f"{key!r} is wanted but not in the graph")
    stack.reverse()
    kept: Graph = {}
    while stack:
        key = stack.pop()
        if key in graph and key not in kept:
            kept[key] = task = graph[key]
            stack += task.dependencies
    return kept


class _Previous:
    """In the arguments of a step of a chain: the result of the step before."""

    __slots__ = ("key",)

    def __init__(self) -> None:
        self.key = None

    def __repr__(self) -> str:
        return "<previous result>"

    def __reduce__(self) -> str:
        return "PREVIOUS"


#: Marks the place of the result of the step before; one object in every process.
PREVIOUS: Final = _Previous()

#: The arguments of one step.
Step: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]


class Chain:
    """Calls functions one after the other, each with the result of the one before.

    Parameters
    ----------
    funcs : tuple of callable
        The functions, first to last.

    Examples
    --------
    >>> Chain((abs, str))(((-1,), {}), ((PREVIOUS,), {}))
    '1'
    """

    __slots__ = ("__weakref__", "funcs")

    def __init__(self, funcs: tuple[Callable[..., Any], ...]) -> None:
        self.funcs = funcs

    @property
    def __name__(self) -> str:
        return getattr(self.funcs[-1], "__name__", type(self.funcs[-1]).__name__)

    def __repr__(self) -> str:
        return f"<Chain of {len(self.funcs)} functions, last {self.__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Chain, (self.funcs,))

    def __call__(self, *steps: Step) -> Any:
        """Run one step after the other; ``steps`` are the arguments of each function."""
        result: Any = None
        for func, step in zip(self.funcs, steps, strict=True):
            args, kwargs = bind(*step, {None: result}, _Previous)
            result = func(*args, **kwargs)
        return result


def fuse_linear(graph: Mapping[Key, Task], keep: Iterable[Key] = ()) -> Graph:
    """Make one task of each linear chain: tasks of which the next one is the only user, and needs nothing else.

    The task has the key of the last one. Functions of equal chains are one ``Chain`` object, so that they are pickled once.

    Parameters
    ----------
    graph : mapping of Key to Task
        The graph; it is not changed.
    keep : iterable of Key
        Keys whose results are wanted, which therefore must stay.

    Returns
    -------
    Graph
        A graph that gives the same results.

    Examples
    --------
    >>> from myscheduler.base.refs import TaskRef
    >>> graph = {"a": Task(abs, (-1,)), "b": Task(float, (TaskRef("a"),)), "c": Task(str, (TaskRef("b"),))}
    >>> fuse_linear(graph, keep=["c"])
    {'c': <Task str with 0 dependencies>}
    """
    before = _links(graph, frozenset(keep))
    if not before:
        return dict(graph)
    absorbed = frozenset(before.values())
    chains: dict[tuple[int, ...], Chain] = {}
    fused: Graph = {}
    for key, task in graph.items():
        if key in absorbed:
            continue
        if key not in before:
            fused[key] = task
            continue
        path = [key]
        while path[-1] in before:
            path.append(before[path[-1]])
        fused[key] = _fuse([(step, graph[step]) for step in reversed(path)], chains)
    return fused


def _links(graph: Mapping[Key, Task], keep: frozenset[Key]) -> dict[Key, Key]:
    """For each task that continues a chain, the one it continues."""
    users: dict[Key, int] = {}
    for task in graph.values():
        for dependency in task.dependencies:
            users[dependency] = users.get(dependency, 0) + 1
    before: dict[Key, Key] = {}
    for key, task in graph.items():
        if len(task.dependencies) == 1:
            (dependency,) = task.dependencies
            inner = graph.get(dependency)
            if (
                inner is not None
                and users[dependency] == 1
                and dependency not in keep
                and inner.options == task.options
            ):
                before[key] = dependency
    return before


def _fuse(tasks: list[tuple[Key, Task]], chains: dict[tuple[int, ...], Chain]) -> Task:
    funcs = tuple([task.func for _, task in tasks])
    # The functions live in the graph while we look, so their ids are theirs alone.
    chain = chains.setdefault(tuple(map(id, funcs)), Chain(funcs))
    first = tasks[0][1]
    steps: list[Step] = [(first.args, first.kwargs)]
    for (key, _), (_, task) in pairwise(tasks):
        steps.append(bind(task.args, task.kwargs, {key: PREVIOUS}))
    return Task(chain, tuple(steps), {}, first.dependencies, tasks[-1][1].options)
