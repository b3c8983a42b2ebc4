"""One task after the other, in the thread that asks: for debuggers, profilers and small graphs."""

from __future__ import annotations

from typing import Any

from ..base.keys import Key
from ..graph.task import Graph
from .common import LocalScheduler, check_options
from .loop import Run, check_result


class SynchronousScheduler(LocalScheduler):
    """Runs each task in the calling thread, in the static order.

    Examples
    --------
    >>> from myscheduler.graph.task import Task
    >>> SynchronousScheduler().compute({"x": Task(abs, (-1,))}, ["x"])
    [1]
    """

    def compute(self, graph: Graph, keys: list[Key], **options: Any) -> list[Any]:
        """Run what ``keys`` need and return their values, in order. It has no options."""
        check_options("synchronous", options)
        run = Run(graph, keys)
        while run.ready:
            rank = run.take()
            func, args, kwargs = run.call(rank)
            value = func(*args, **kwargs)
            del args, kwargs
            check_result(run.keys[rank], value)
            run.finish(rank, value)
            del value
        return run.values()
