"""What all schedulers of one machine have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from ..base.errors import UsageError
from ..base.keys import Key
from ..base.refs import TaskRef
from ..base.system import cpu_count
from ..graph.delayed import Delayed
from ..graph.task import Graph, Task, TaskOptions, identity

#: Options that choose among the workers of a cluster; here they have nothing to choose.
_FOR_CLUSTERS: Final = frozenset(field.name for field in fields(TaskOptions))


class LocalScheduler(ABC):
    """A scheduler without a cluster: computes at once, and persists by computing."""

    @abstractmethod
    def compute(self, graph: Graph, keys: list[Key], **options: Any) -> list[Any]:
        """Run what ``keys`` need and return their values, in order."""

    def persist(self, graph: Graph, keys: list[Key], **options: Any) -> dict[Key, TaskRef]:
        """Run what ``keys`` need and return their values, each wrapped as a ``Delayed``."""
        values = self.compute(graph, keys, **options)
        return {key: Delayed(key, Task(identity, (value,), {}, ())) for key, value in zip(keys, values, strict=True)}


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
