"""Running what has been written down: ``compute`` and ``persist`` hand graphs to a scheduler."""

from __future__ import annotations

from typing import Any

from ..base.ids import unique_suffix
from ..base.keys import Key
from ..base.refs import TaskRef
from .arguments import find_refs, substitute
from .delayed import Delayed, DelayedFuture, collect, kept_as
from .optimize import fuse_linear
from .schedulers import SchedulerLike, resolve
from .task import Graph, Task, identity
from .visualize import visualize

__all__ = ["compute", "persist", "visualize"]


def compute(
    *collections: Any,
    scheduler: SchedulerLike = None,
    optimize_graph: bool = True,
    traverse: bool = True,
    **options: Any,
) -> tuple[Any, ...]:
    """Run delayed calls and return their values. What several of them need is run once.

    Parameters
    ----------
    *collections : object
        ``Delayed`` objects, or containers of them; everything else is returned as it is.
    scheduler : str, Client or Executor, optional
        Who runs them: ``"threads"``, ``"processes"``, ``"synchronous"``, a client or an executor. By default the newest
        client, or threads if there is none.
    optimize_graph : bool
        Whether to run chains of calls, of which nobody else needs the steps, as one task.
    traverse : bool
        Whether to look for ``Delayed`` inside containers.
    **options : object
        For the scheduler: ``num_workers`` and ``pool`` on this machine; ``priority``, ``retries``, ``workers`` and others
        on a cluster.

    Returns
    -------
    tuple
        One item for each of ``collections``.

    Raises
    ------
    UsageError
        The scheduler is not known, or a key names two different tasks (``GraphError``).
    Exception
        Whatever the first task that fails raises.

    Examples
    --------
    >>> from myscheduler import delayed
    >>> x = delayed(abs)(-1)
    >>> compute([x, x + 1], {"sum": x + x}, scheduler="synchronous")
    ([1, 2], {'sum': 2})
    >>> compute(1, [2])
    (1, [2])
    """
    nodes = _find_delayed(collections, traverse)
    if not nodes:
        return collections
    chosen = resolve(scheduler)
    graph, keys = _prepare(nodes, optimize_graph)
    values = dict(zip(nodes, chosen.compute(graph, keys, **options), strict=True))
    return tuple([_put_in(item, nodes, values, traverse) for item in collections])


def persist(
    *collections: Any,
    scheduler: SchedulerLike = None,
    optimize_graph: bool = True,
    traverse: bool = True,
    **options: Any,
) -> tuple[Any, ...]:
    """Start running delayed calls, and keep the results where they are made.

    On a cluster this returns at once; on one machine, when all is done.

    Parameters
    ----------
    *collections, scheduler, optimize_graph, traverse, **options
        As for ``compute``.

    Returns
    -------
    tuple
        ``collections``, with each ``Delayed`` replaced by one that stands for the kept result.

    Raises
    ------
    UsageError
        As for ``compute``.

    Examples
    --------
    >>> from myscheduler import delayed
    >>> (base,) = persist(delayed(pow)(2, 10))
    >>> (base + 1).compute()
    1025
    """
    nodes = _find_delayed(collections, traverse)
    if not nodes:
        return collections
    chosen = resolve(scheduler)
    kept: dict[Key, Any] = {key: node for key, node in nodes.items() if isinstance(node, DelayedFuture)}
    to_run = {key: node for key, node in nodes.items() if key not in kept}
    if to_run:
        graph, keys = _prepare(to_run, optimize_graph)
        for key, ref in chosen.persist(graph, keys, **options).items():
            kept[key] = ref if isinstance(ref, Delayed) else kept_as(nodes[key], ref)
    return tuple([_put_in(item, nodes, kept, traverse) for item in collections])


def _find_delayed(collections: tuple[Any, ...], traverse: bool) -> dict[Key, Delayed[Any]]:
    if traverse:
        return {key: ref for key, ref in find_refs(collections).items() if isinstance(ref, Delayed)}
    return {item.key: item for item in collections if isinstance(item, Delayed)}


def _prepare(nodes: dict[Key, Delayed[Any]], optimize_graph: bool) -> tuple[Graph, list[Key]]:
    """The graph behind ``nodes`` and, for each of them, the key that will have its value."""
    graph = collect([node for node in nodes.values() if not isinstance(node, DelayedFuture)])
    keys: list[Key] = []
    for key, node in nodes.items():
        if isinstance(node, DelayedFuture) and key not in graph:
            # Not a task of this graph; a task that hands it on makes its value available like every other.
            alias = f"value-{unique_suffix()}"
            graph[alias] = Task(identity, (node.future,), {}, (key,))
            keys.append(alias)
        else:
            keys.append(key)
    return (fuse_linear(graph, keys) if optimize_graph else graph), keys


def _put_in(item: Any, nodes: dict[Key, Delayed[Any]], values: dict[Key, Any], traverse: bool) -> Any:
    if isinstance(item, Delayed):
        return values[item.key]
    if not traverse:
        return item
    # Futures that are not Delayed stay what they are.
    refs: dict[Key, TaskRef] = find_refs([item])
    if not any(key in nodes for key in refs):
        return item
    return substitute(item, {key: values[key] if key in nodes else ref for key, ref in refs.items()})
