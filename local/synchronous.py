"""One task after the other, in the thread that asks: for debuggers, profilers and small graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .common import LocalScheduler
from .loop import Run
from .serving import check_result


class SynchronousScheduler(LocalScheduler):
    """Runs each task in the calling thread, in the static order. It has no options.

    Examples
    --------
    >>> from myscheduler.graph.task import Task
    >>> SynchronousScheduler().compute({"x": Task(abs, (-1,))}, ["x"])
    [1]
    """

    name = "synchronous"

    def _work(self, run: Run, options: Mapping[str, Any]) -> list[Any]:
        while run.ready:
            rank = run.take()
            func, args, kwargs = run.call(rank)
            value = func(*args, **kwargs)
            del args, kwargs
            check_result(run.keys[rank], value)
            run.finish(rank, value)
            del value
        return run.values()
