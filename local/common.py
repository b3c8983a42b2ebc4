"""What all schedulers of one machine have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Final

from ..base import config
from ..base.errors import UsageError
from ..base.keys import Key
from ..base.refs import TaskRef
from ..base.system import cpu_count
from ..graph.delayed import Delayed
from ..graph.task import Graph, Task, TaskOptions, identity
from .callbacks import watching
from .loop import Run

#: Options that choose among the workers of a cluster; here they have nothing to choose.
_FOR_CLUSTERS: Final = frozenset(field.name for field in fields(TaskOptions))


class LocalScheduler(ABC):
    """A scheduler without a cluster: computes at once, and persists by computing."""

    name: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()

    def compute(self, graph: Graph, keys: list[Key], **options: Any) -> list[Any]:
        """Run what ``keys`` need and return their values, in order.

        Parameters
        ----------
        graph, keys : Graph, list of Key
            What to run and what to return.
        **options : object
            See the class.

        Returns
        -------
        list
            The values.

        Raises
        ------
        Exception
            What the first task that failed raised; tasks that were running go on, no other is begun.
        """
        check_options(self.name, options, *self.options)
        with watching(graph, self._value) as watch:
            run = Run(graph, keys, watch)
            if watch is not None:
                watch.start_state(run)
            return self._work(run, options)

    @abstractmethod
    def _work(self, run: Run, options: Mapping[str, Any]) -> list[Any]:
        """Do it and return the values of what is wanted."""

    def _value(self, value: Any) -> Any:
        """What ``Run.finish`` was given, as callbacks want it."""
        return value

    def persist(self, graph: Graph, keys: list[Key], **options: Any) -> dict[Key, TaskRef]:
        """Run what ``keys`` need and return their values, each wrapped as a ``Delayed``."""
        values = self.compute(graph, keys, **options)
        return {key: Delayed(key, Task(identity, (value,), {}, ())) for key, value in zip(keys, values, strict=True)}


def choose_pool(options: Mapping[str, Any], given: Any = None) -> tuple[Any, int | None]:
    """The pool to use and the number of workers wanted: what the call says, else what is configured.

    A configured number of workers is for pools of our own; somebody's pool has its size.

    Parameters
    ----------
    options : mapping
        Of the call.
    given : object, optional
        The pool that the scheduler was made of.
    """
    pool, wanted = options.get("pool"), options.get("num_workers")
    if pool is None:
        pool = config.get("pool") if given is None else given
    if pool is None and wanted is None:
        wanted = config.get("num-workers")
    return pool, wanted


def check_options(scheduler: str, options: Mapping[str, Any], *known: str) -> None:
    """Raise if an option means nothing to this scheduler; options for clusters are let pass.

    Raises
    ------
    UsageError
        An unknown option; the message lists the known ones.

    Examples
    --------
    >>> check_options("threads", {"num_wrokers": 2}, "num_workers", "pool")
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.UsageError: the threads scheduler has no option 'num_wrokers'; it has num_workers, pool
    """
    for name in options:
        if name not in known and name not in _FOR_CLUSTERS:
            what = f"it has {', '.join(known)}" if known else "it has none"
            raise UsageError(f"the {scheduler} scheduler has no option {name!r}; {what}")


def workers_wanted(num_workers: Any) -> int:
    """Check ``num_workers``; None means one for each processor we may use.

    Raises
    ------
    UsageError
        It is no positive whole number.
    """
    if num_workers is None:
        return cpu_count()
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
        raise UsageError(f"num_workers={num_workers!r} is not a number of workers (1, 2, 3, ...)")
    return num_workers
