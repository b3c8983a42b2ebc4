"""Which client is meant when none is named: the one of this context, of this worker, or the newest of this process."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ...base.errors import MySchedulerError, UsageError
from . import hooks

if TYPE_CHECKING:
    from .client import Client

logger = logging.getLogger("myscheduler.client")

_EXIT_TIMEOUT_S = 5.0

_current: ContextVar[Client | None] = ContextVar("myscheduler_client", default=None)
_lock = threading.Lock()
_defaults: list[Client] = []
_open: weakref.WeakSet[Client] = weakref.WeakSet()


class as_current:  # noqa: N801 (used like a function; entered with every result, for which a generator is slow)
    """Make ``client`` the one that is meant inside this block, in this thread or asyncio task."""

    __slots__ = ("_client", "_token")

    def __init__(self, client: Client) -> None:
        self._client = client

    def __enter__(self) -> Client:
        self._token = _current.set(self._client)
        return self._client

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)


def find_client() -> Client | None:
    """The client that is meant here, or None. Inside a task, one is opened to the task's own scheduler."""
    client = _current.get()
    if client is not None and client.status != "closed":
        return client
    hooks.connect_worker()
    context = hooks.current_worker()
    if context is not None:
        return _client_of(context)
    with _lock:
        for client in reversed(_defaults):
            if client.status != "closed":
                return client
    return None


def get_client(address: str | None = None, timeout: float | str = "10s") -> Client:
    """The current client; inside a task, a client of the task's own scheduler, shared by the tasks of the worker.

    Parameters
    ----------
    address : str, optional
        Insist on this scheduler; a client is opened if the current one is another's.
    timeout : float or str
        Seconds to connect, when a client must be opened.

    Returns
    -------
    Client
        Connected.

    Raises
    ------
    UsageError
        There is no client.

    Examples
    --------
    >>> get_client() is client
    True
    >>> def total(n):                          # a task that submits tasks
    ...     from myscheduler import get_client
    ...     inner = get_client()
    ...     return sum(inner.gather(inner.map(abs, range(-n, 0))))
    >>> client.submit(total, 4).result()
    10
    """
    client = find_client()
    if address is not None and (client is None or client.scheduler_address != address):
        from .client import Client

        return Client(address, timeout=timeout, set_as_default=False)
    if client is None:
        raise UsageError("there is no client here; make one first: client = Client() or Client('tcp://host:8786')")
    return client


def default_client(client: Client | None = None) -> Client:
    """``client`` if given, else the newest client of this process that was made with ``set_as_default=True``.

    Parameters
    ----------
    client : Client, optional
        Is returned as it is.

    Returns
    -------
    Client
        Open, unless it was given.

    Raises
    ------
    UsageError
        There is none.

    Examples
    --------
    >>> default_client() is client
    True
    """
    if client is not None:
        return client
    with _lock:
        for candidate in reversed(_defaults):
            if candidate.status != "closed":
                return candidate
    raise UsageError("no default client; make one first: client = Client() or Client('tcp://host:8786')")


_opening = threading.Lock()


def _client_of(context: hooks.WorkerContext) -> Client:
    from .client import Client

    with _opening:
        client: Client | None = context.cache.get("client")
        if client is None or client.status == "closed":
            client = context.cache["client"] = Client(
                context.scheduler_address, credentials=context.credentials, set_as_default=False, name="worker"
            )
        return client


def opened(client: Client, as_default: bool) -> None:
    """A client has connected."""
    # What is registered last runs first at exit: clients must leave before the clusters they were made with end.
    atexit.unregister(_close_all)
    atexit.register(_close_all)
    with _lock:
        _open.add(client)
        if as_default:
            _defaults.append(client)


def closed(client: Client) -> None:
    """A client has closed."""
    with _lock:
        _open.discard(client)
        _defaults[:] = [other for other in _defaults if other is not client]


def _close_all() -> None:
    """At the interpreter's exit, while threads still run: leave in an orderly way, newest first."""
    for client in list(_open):
        if client.asynchronous:
            continue  # its loop is its owner's and has ended
        try:
            client.close(_EXIT_TIMEOUT_S)
        except (MySchedulerError, TimeoutError, OSError) as error:
            logger.warning("closing %r at exit: %s", client, error)
