"""What a graph is made of: tasks and their options. Nothing here runs a task or looks for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ..base.keys import Key
from .arguments import find_refs
from .retry import Retry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How and where a task should run on a cluster. Schedulers of one machine have nothing to choose and ignore it.

    Parameters
    ----------
    priority : float
        Higher runs first.
    retries : int or Retry
        How many times to try again after the task raised, or on which errors and after which waits as well.
    workers : tuple of str, optional
        Names or addresses of the workers that may run it; all by default.
    allow_other_workers : bool
        Whether ``workers`` is only a wish.
    resources : tuple of (str, float), optional
        Amounts of abstract resources that the task occupies while it runs.
    timeout : float, optional
        Seconds that one run may take, counted from its start at the worker.
    """

    priority: float = 0
    retries: int | Retry = 0
    workers: tuple[str, ...] | None = None
    allow_other_workers: bool = False
    resources: tuple[tuple[str, float], ...] | None = None
    timeout: float | None = None


class Task:
    """One call that a graph asks for.

    Parameters
    ----------
    func : callable
        What is called.
    args : tuple
        Positional arguments; a ``TaskRef`` at any depth of lists, tuples, sets, dicts, dataclasses, named tuples and
        slices stands for the result of another task.
    kwargs : dict, optional
        Keyword arguments, likewise.
    dependencies : tuple of Key, optional
        The keys that the arguments refer to, in order of first appearance; looked up when omitted.
    options : TaskOptions, optional
        How and where to run it.

    Examples
    --------
    >>> from myscheduler.base.refs import TaskRef
    >>> Task(max, ([TaskRef("x"), 2],)).dependencies
    ('x',)
    """

    __slots__ = ("args", "dependencies", "func", "kwargs", "options")

    def __init__(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        dependencies: tuple[Key, ...] | None = None,
        options: TaskOptions | None = None,
    ) -> None:
        self.func = func
        self.args = args
        self.kwargs: dict[str, Any] = {} if kwargs is None else kwargs
        self.dependencies = tuple(find_refs(args, self.kwargs)) if dependencies is None else dependencies
        self.options = options

    def __repr__(self) -> str:
        name = getattr(self.func, "__name__", None) or type(self.func).__name__
        return f"<Task {name} with {len(self.dependencies)} dependencies>"


Graph: TypeAlias = dict[Key, Task]


def identity(value: T) -> T:
    """Return ``value``: the function of tasks that hold plain values and aliases."""
    return value


def dependents(graph: Mapping[Key, Task]) -> dict[Key, list[Key]]:
    """Turn the edges around: who needs each task of the graph.

    Examples
    --------
    >>> from myscheduler.base.refs import TaskRef
    >>> dependents({"x": Task(int), "y": Task(abs, (TaskRef("x"),))})
    {'x': ['y'], 'y': []}
    """
    users: dict[Key, list[Key]] = {key: [] for key in graph}
    for key, task in graph.items():
        for dependency in task.dependencies:
            if dependency in users:
                users[dependency].append(key)
    return users
