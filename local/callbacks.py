"""Watching graphs that run on this machine: ``Callback``. Clusters have ``progress`` and the dashboard instead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from ..base.keys import Key
from ..graph.task import Graph
from .loop import Run

_STATES: Final = ("waiting", "ready", "running", "finished")


class Callback:
    """Functions that are called while a scheduler of this machine runs a graph.

    Either pass them, or derive a class that has them as methods with an underscore: ``_start``, ``_posttask``. They are
    called one at a time, but on whichever thread has something to tell. What they raise ends the run. Graphs that tasks
    run themselves are not told of.

    Use it as ``with Callback(...):``, for the graphs of this thread or asyncio task, or ``register()`` it for all.

    Parameters
    ----------
    start : callable, optional
        ``start(graph)``, before anything else.
    start_state : callable, optional
        ``start_state(graph, state)``, when it is known what is to be done. ``state`` is a ``State``.
    pretask : callable, optional
        ``pretask(key, graph, state)``, before a task runs; with processes, when it is sent.
    posttask : callable, optional
        ``posttask(key, result, graph, state, worker_id)``, after a task has run. ``worker_id`` is the ``threading.get_ident()``
        of the thread that ran it, or looked after the process that did.
    finish : callable, optional
        ``finish(graph, state, errored)``, in the end, however it came; ``state`` is None if the graph was not fit to run.

    Examples
    --------
    >>> from myscheduler import delayed
    >>> with Callback(posttask=lambda key, result, graph, state, worker_id: print(key, result)):
    ...     delayed(abs)(-1, dask_key_name="one").compute()
    one 1
    1
    """

    _start: Callable[[Graph], object] | None = None
    _start_state: Callable[[Graph, State], object] | None = None
    _pretask: Callable[[Key, Graph, State], object] | None = None
    _posttask: Callable[[Key, Any, Graph, State, int], object] | None = None
    _finish: Callable[[Graph, State | None, bool], object] | None = None

    def __init__(
        self,
        start: Callable[[Graph], object] | None = None,
        start_state: Callable[[Graph, State], object] | None = None,
        pretask: Callable[[Key, Graph, State], object] | None = None,
        posttask: Callable[[Key, Any, Graph, State, int], object] | None = None,
        finish: Callable[[Graph, State | None, bool], object] | None = None,
    ) -> None:
        given = {
            "_start": start,
            "_start_state": start_state,
            "_pretask": pretask,
            "_posttask": posttask,
            "_finish": finish,
        }
        vars(self).update({name: function for name, function in given.items() if function is not None})

    def __enter__(self) -> Self:
        before = _here.get()
        _here.set(_Here((*before.entered, self), before.is_inside))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        now = _here.get()
        _here.set(_Here(tuple([other for other in now.entered if other is not self]), now.is_inside))

    def register(self) -> None:
        """Watch every graph that this process runs on this machine, until ``unregister``."""
        _registered[self] = None

    def unregister(self) -> None:
        """Undo ``register``."""
        _registered.pop(self, None)


class _Here(NamedTuple):
    entered: tuple[Callback, ...]
    is_inside: bool  # of a task that is being watched


_registered: dict[Callback, None] = {}
_NOWHERE: Final = _Here((), False)
_here: ContextVar[_Here] = ContextVar("myscheduler_callbacks", default=_NOWHERE)


class State(Mapping[str, "set[Key]"]):
    """How far a run is: the keys that are ``waiting``, ``ready``, ``running`` and ``finished``.

    Sets of keys are made when they are asked for; ``done`` and ``total`` are numbers of tasks and cost nothing.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._running: dict[int, None] = {}

    @property
    def total(self) -> int:
        """How many tasks there are."""
        return len(self._run.keys)

    @property
    def done(self) -> int:
        """How many of them have run."""
        return self.total - self._run.unfinished

    def __getitem__(self, name: str) -> set[Key]:
        run = self._run
        if name == "waiting":
            return {*run.waiting()}
        if name == "ready":
            return {run.keys[rank] for rank in list(run.ready)}
        if name == "running":
            return {run.keys[rank] for rank in list(self._running)}
        if name == "finished":
            return {*run.keys}.difference(self["waiting"], self["ready"], self["running"])
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_STATES)

    def __len__(self) -> int:
        return len(_STATES)

    def _begins(self, rank: int) -> None:
        self._running[rank] = None

    def _ends(self, rank: int) -> None:
        self._running.pop(rank, None)


class Watching:
    """One run and its callbacks; satisfies ``loop.Watch``.

    Parameters
    ----------
    graph : Graph
        As the user gave it.
    callbacks : list of Callback
        Who is told.
    value : callable
        Makes a result out of what ``Run.finish`` is given.
    """

    def __init__(self, graph: Graph, callbacks: list[Callback], value: Callable[[Any], Any]) -> None:
        self._graph = graph
        self._callbacks = callbacks
        self._started: list[Callback] = []
        self._pretasks = [before for callback in callbacks if (before := callback._pretask)]  # noqa: SLF001
        self._posttasks = [after for callback in callbacks if (after := callback._posttask)]  # noqa: SLF001
        self._value = value
        self._state: State | None = None
        self._is_over = False

    def start(self) -> None:
        """Before the graph is looked at."""
        for callback in self._callbacks:
            self._started.append(callback)
            if callback._start is not None:  # noqa: SLF001
                callback._start(self._graph)  # noqa: SLF001

    def start_state(self, run: Run) -> None:
        """The graph is fit to run."""
        self._state = State(run)
        for callback in self._callbacks:
            if callback._start_state is not None:  # noqa: SLF001
                callback._start_state(self._graph, self._state)  # noqa: SLF001

    def begins(self, run: Run, rank: int) -> None:
        """A task is about to run."""
        if self._state is None or self._is_over:
            return
        self._state._begins(rank)  # noqa: SLF001
        for pretask in self._pretasks:
            pretask(run.keys[rank], self._graph, self._state)

    def ends(self, run: Run, rank: int, value: Any) -> None:
        """A task has its value; after an error others may still be running, and nobody cares."""
        if self._state is None or self._is_over:
            return
        self._state._ends(rank)  # noqa: SLF001
        if self._posttasks:
            result = self._value(value)
            for posttask in self._posttasks:
                posttask(run.keys[rank], result, self._graph, self._state, threading.get_ident())

    def finish(self, errored: bool) -> None:
        """It is over for all that have started."""
        self._is_over = True
        for callback in self._started:
            if callback._finish is not None:  # noqa: SLF001
                callback._finish(self._graph, self._state, errored)  # noqa: SLF001


@contextmanager
def watching(graph: Graph, value: Callable[[Any], Any]) -> Iterator[Watching | None]:
    """Around a run: the callbacks that are in force here, if any, hidden from the tasks that run inside.

    Parameters
    ----------
    graph, value
        As for ``Watching``.
    """
    here = _here.get()
    callbacks = [*dict.fromkeys((*(() if here.is_inside else _registered), *here.entered))]
    if not callbacks:
        yield None
        return
    token = _here.set(_Here((), True))
    watch = Watching(graph, callbacks, value)
    errored = True
    try:
        watch.start()
        yield watch
        errored = False
    finally:
        _here.reset(token)
        watch.finish(errored)
