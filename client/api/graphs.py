"""Graphs on the cluster: the scheduler that ``compute`` and ``persist`` use when a client is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ...base.collector import paused
from ...base.errors import GraphError, UsageError
from ...base.keys import Key
from ...base.limits import ROWS_PER_MESSAGE_MAX
from ...base.refs import MANY, TaskRef
from ...graph.items import find_items, without
from ...graph.optimize import cull
from ...graph.order import order
from ...graph.plain import from_plain
from ...graph.task import Graph, Task
from ...graph.validate import check_acyclic, check_inputs
from ...protocol.blob import Payload
from ...protocol.messages import Row
from ...protocol.pickling import dumps_call, dumps_function
from ..outbox import Option
from ..records import Record
from . import gather
from .defaults import find_client, get_client
from .futures import Future, make_futures
from .session import Session
from .submitting import Request, Submitter, make_option, name_of, option_of

#: A slice of a graph ends when its tasks have so many inputs.
_INPUTS_PER_SLICE: Final = 4096


class GraphSubmitter:
    """Submits graphs: what is held already is not sent again, the rest goes in the order of ``graph.order``.

    Parameters
    ----------
    session : Session
        Where to queue.
    submitter : Submitter
        Pickles calls.
    """

    def __init__(self, session: Session, submitter: Submitter) -> None:
        self._session = session
        self._submitter = submitter

    @paused()
    def submit(self, graph: Graph, keys: list[Key], **options: Any) -> dict[Key, Future[Any]]:
        """Queue what ``keys`` need; returns a future for each of them.

        Parameters
        ----------
        graph : Graph
            May refer to futures of this client.
        keys : list of Key
            What is wanted.
        **options
            As for ``submit``; for tasks that have no options of their own.
        """
        session = self._session
        default = make_option(**options)
        check_inputs(graph, session.machine.records)
        with session.lock:
            find, known = session.machine.find, session.machine.records
            held = {key: record for key in graph if key in known and (record := find(key)) is not None}
        futures = dict(zip(held, make_futures(session, held.values()), strict=True))
        rest = {key: task for key, task in graph.items() if key not in held} if held else graph
        missing = [key for key in dict.fromkeys(keys) if key not in held]
        rest = cull(rest, missing)
        if len(rest) < len(graph):
            check_acyclic(graph)  # of the whole; what is sent is put in order, which finds a cycle as well
        if missing:
            for future in make_futures(session, self._send(rest, dict.fromkeys(missing), default)):
                futures[future.key] = future
        return {key: futures[key] for key in keys}

    def submit_plain(self, dsk: Mapping[Any, Any], keys: list[Key], **options: Any) -> dict[Key, Future[Any]]:
        """As ``submit``, for a graph written as a plain dict."""
        with paused():
            return self.submit(from_plain(dsk), keys, **options)

    def _send(self, graph: Graph, wanted: dict[Key, None], default: Option) -> list[Record]:
        records: list[Record] = []
        items = find_items(graph, wanted)
        with Request(self._session) as request:
            ranks = order(without(graph, items) if items else graph)
            left = len(ranks)
            for keys in _slices(graph, ranks):
                left -= len(keys)
                functions, options, rows = self._make_rows(graph, keys, items, ranks, default)
                wants = tuple(index for index, key in enumerate(keys) if key in wanted)
                records += request.send(functions.items(), list(options), rows, wants, more=left > 0)
        return records

    def _make_rows(
        self, graph: Graph, keys: list[Key], items: dict[Key, Key], ranks: dict[Key, int], default: Option
    ) -> tuple[dict[bytes, Payload], dict[Option, int], list[Row]]:
        functions: dict[bytes, Payload] = {}
        names: dict[int, tuple[str, bytes]] = {}  # by id of the function, which the graph keeps alive
        options: dict[Option, int] = {}
        rows: list[Row] = []
        for key in keys:
            task = graph[key]
            known = names.get(id(task.func))
            if known is None:
                func_id, payload = dumps_function(task.func)
                functions[func_id] = payload
                known = names[id(task.func)] = (name_of(task.func), func_id)
            option = default if task.options is None else option_of(task.options)
            number = options.setdefault(option, len(options))
            arguments, refs = dumps_call(known[0], task.args, task.kwargs, len(task.dependencies) >= MANY)
            if len(refs) != len(task.dependencies):
                self._check_hidden(key, task, refs)
            inputs = tuple([items.get(ref, ref) for ref in refs] if items and refs else refs)
            rows.append((key, known[1], arguments, inputs, ranks[key], number))
        return functions, options, rows

    def _check_hidden(self, key: Key, task: Task, refs: dict[Key, TaskRef]) -> None:
        """Pickle looks into any object, the graph only into containers: what only pickle found must exist already."""
        for dependency, ref in refs.items():
            if dependency in task.dependencies:
                continue
            if not isinstance(ref, Future):
                raise GraphError(
                    f"task {key!r} refers to {dependency!r} inside an object that the graph cannot look into; "
                    "pass it as an argument, or in a list, tuple, set, dict or dataclass"
                )
            self._submitter.check_reference(ref, name_of(task.func))


class ClusterScheduler:
    """The client as ``graph.schedulers.Scheduler``: what ``compute()`` anywhere uses while the client is the default.

    Parameters
    ----------
    session : Session
        The client's.
    graphs : GraphSubmitter
        The client's.
    """

    def __init__(self, session: Session, graphs: GraphSubmitter) -> None:
        self._session = session
        self.graphs = graphs

    def compute(self, graph: Graph, keys: list[Key], **options: Any) -> list[Any]:
        """Run what ``keys`` need and return their values, in order."""
        if self._session.client.asynchronous:
            raise UsageError("compute() blocks, but this client is asynchronous: await client.compute(..., sync=True)")
        futures = self.graphs.submit(graph, keys, **options)
        values: list[Any] = gather.gather(self._session, [futures[key] for key in keys], "raise", None)
        return values

    def persist(self, graph: Graph, keys: list[Key], **options: Any) -> dict[Key, Any]:
        """Start what ``keys`` need and return a future for each."""
        return dict(self.graphs.submit(graph, keys, **options))

    def __repr__(self) -> str:
        return f"<ClusterScheduler of {self._session.client!r}>"


def current_scheduler() -> ClusterScheduler | None:
    """The current client as a scheduler, if there is one; inside a task, a client of the task's own cluster."""
    client = find_client()
    return None if client is None else client.scheduler


class DefaultClientScheduler:
    """What ``scheduler="distributed"`` means: whichever client is the default when it is used."""

    def compute(self, graph: Graph, keys: list[Key], **options: Any) -> list[Any]:
        """Run what ``keys`` need and return their values, in order."""
        return get_client().scheduler.compute(graph, keys, **options)

    def persist(self, graph: Graph, keys: list[Key], **options: Any) -> dict[Key, Any]:
        """Start what ``keys`` need and return a future for each."""
        return get_client().scheduler.persist(graph, keys, **options)


def _slices(graph: Graph, keys: Iterable[Key]) -> Iterator[list[Key]]:
    """So many tasks at a time that the scheduler begins with the first while the others are being pickled."""
    part: list[Key] = []
    inputs = 0
    for key in keys:
        part.append(key)
        inputs += len(graph[key].dependencies)
        if inputs >= _INPUTS_PER_SLICE or len(part) == ROWS_PER_MESSAGE_MAX:
            yield part
            part, inputs = [], 0
    if part:
        yield part


def flatten(keys: Any) -> Iterator[Key]:
    """The keys in nested lists."""
    if isinstance(keys, list):
        for key in keys:
            yield from flatten(key)
    else:
        yield keys


def refill(keys: Any, values: dict[Key, Any]) -> Any:
    """Values in the places of keys in nested lists."""
    if isinstance(keys, list):
        return [refill(key, values) for key in keys]
    return values[keys]
