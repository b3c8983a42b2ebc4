"""Which scheduler runs a graph: the one that the call names, that the configuration names, the current client, the default.

The only file of ``graph`` with a lock: names are registered on any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ..base import config
from ..base.errors import UsageError
from ..base.keys import Key
from ..base.refs import TaskRef
from .task import Graph


@runtime_checkable
class Scheduler(Protocol):
    """What can run a graph: a client of a cluster, or a scheduler of this machine."""

    def compute(self, graph: Graph, keys: list[Key], **options: Any) -> list[Any]:
        """Run what ``keys`` need and return their values, in order."""
        ...

    def persist(self, graph: Graph, keys: list[Key], **options: Any) -> dict[Key, TaskRef]:
        """Start what ``keys`` need and return a reference to each result."""
        ...


SchedulerLike: TypeAlias = "str | Scheduler | Any | None"

_lock = threading.Lock()
_loaders: dict[str, Callable[[], Scheduler]] = {}
_loaded: dict[str, Scheduler] = {}
_adapters: list[tuple[type, Callable[[Any], Scheduler]]] = []
_find_current: Callable[[], Scheduler | None] | None = None

#: The default of ``delayed``, for when nobody has said anything and no client is there.
FALLBACK = "threads"
_ROOT = __name__.partition(".")[0]


def register(name: str, loader: Callable[[], Scheduler]) -> None:
    """Let ``scheduler=name`` mean what ``loader`` returns; it is called when the name is first used.

    Parameters
    ----------
    name : str
        Not case sensitive. A name registered again, with another loader, means the new scheduler.
    loader : callable
        Makes the scheduler; a place for late imports.
    """
    with _lock:
        if _loaders.get(name.lower()) is not loader:
            _loaders[name.lower()] = loader
            _loaded.pop(name.lower(), None)


def register_type(kind: type, adapt: Callable[[Any], Scheduler]) -> None:
    """Let ``scheduler=`` take instances of ``kind``, which ``adapt`` turns into schedulers."""
    with _lock:
        _adapters[:] = [(known, adapter) for known, adapter in _adapters if known is not kind]
        _adapters.append((kind, adapt))


def provide_current(find: Callable[[], Scheduler | None]) -> None:
    """Let ``find`` say which client is the current one, if any; whoever makes clients calls this once."""
    global _find_current
    _find_current = find


def resolve(scheduler: SchedulerLike = None) -> Scheduler:
    """Find the scheduler that ``scheduler`` means.

    Parameters
    ----------
    scheduler : None, str, Scheduler or concurrent.futures.Executor
        None means what the configuration says (``config.get("scheduler")``), else the current client, else ``"threads"``.

    Returns
    -------
    Scheduler
        What will run the graph.

    Raises
    ------
    UsageError
        An unknown name (the message lists the known ones), or an object that cannot run graphs.
    """
    _connect()
    source = ""
    if scheduler is None:
        scheduler, source, _ = config.lookup("scheduler")
    if scheduler is None:
        current = None if _find_current is None else _find_current()
        if current is not None:
            return current
        scheduler = FALLBACK
    if isinstance(scheduler, str):
        return _by_name(scheduler, source)
    with _lock:
        adapters = list(_adapters)
    for kind, adapt in adapters:
        if isinstance(scheduler, kind):
            return adapt(scheduler)
    if not isinstance(scheduler, type) and isinstance(scheduler, Scheduler):
        return scheduler
    raise UsageError(
        f"{scheduler!r} cannot run graphs; scheduler= takes a name ({_known()}), "
        "a Client, or a concurrent.futures.Executor"
    )


def _connect() -> None:
    """In a process that began with an unpickled task, nobody has come through the front door, which registers names."""
    if not _loaders:
        getattr(import_module(_ROOT), "compute")  # noqa: B009 (for its effect)


def _by_name(name: str, source: str) -> Scheduler:
    name = name.lower()
    with _lock:
        found = _loaded.get(name)
        loader = _loaders.get(name)
    if found is not None:
        return found
    if loader is None:
        where = f" (from {source})" if source else ""
        raise UsageError(f"no scheduler is called {name!r}{where}; known are {_known()}")
    # Outside the lock, because it may import; should two threads get here, the first one's scheduler stays.
    made = loader()
    with _lock:
        return _loaded.setdefault(name, made)


def _known() -> str:
    with _lock:
        return ", ".join(repr(name) for name in _loaders) or "none"
