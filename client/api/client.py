"""``Client``: the users' door to a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ...base.credentials import Credentials
from ...base.errors import UsageError
from ...base.keys import Key
from ...base.units import parse_seconds
from ...graph import compute as graph_compute
from ...graph import schedulers
from ...graph.arguments import find_refs
from ...graph.delayed import Delayed, DelayedFuture, collect, delayed
from ...graph.optimize import fuse_linear
from ...graph.retry import Retry
from . import defaults, scatter
from .futures import Future
from .gather import Errors, Nested, gather, gather_async
from .graphs import current_scheduler, flatten, refill
from .questions import Questions, names_of
from .submitting import make_option

T = TypeVar("T")

#: How long ``scatter`` waits for a worker to be there.
_SCATTER_TIMEOUT_S = 30.0


class Client(Questions):
    """Connects to a cluster: submits work, gets futures back, fetches results.

    Without an address it starts a ``LocalCluster`` for itself (unless the configuration, by ``scheduler-address`` or
    ``scheduler-file``, names a scheduler), which ends with the client.

    Parameters
    ----------
    address : str or LocalCluster, optional
        ``"tcp://host:8786"``, ``"host:8786"``, or an object with ``scheduler_address`` and ``credentials``.
    scheduler_file : path, optional
        A file with address and credentials, as schedulers write it.
    credentials : Credentials or path, optional
        For ``address``; by default those that a scheduler of the same user has published.
    timeout : float or str
        Seconds to connect.
    asynchronous : bool
        True: runs on the running loop (``async with Client(..., asynchronous=True) as client``), and whatever would wait
        returns an awaitable.
    set_as_default : bool
        Whether ``compute()`` and ``get_client()`` anywhere in this process mean this client, until it closes.
    name : str, optional
        Shown by the scheduler.
    **cluster_kwargs
        For the ``LocalCluster``, such as ``n_workers``.

    Raises
    ------
    UsageError
        The arguments contradict each other.
    ConnectionFailedError, AuthenticationError, VersionMismatchError
        There is no scheduler there, or none for us.

    Examples
    --------
    >>> with Client(n_workers=1, processes=False, dashboard_address=None) as client:
    ...     client.gather(client.map(abs, [-1, -2]))
    [1, 2]
    """

    def __init__(
        self,
        address: Any = None,
        *,
        scheduler_file: str | os.PathLike[str] | None = None,
        credentials: Credentials | str | os.PathLike[str] | None = None,
        timeout: float | str = "10s",
        asynchronous: bool = False,
        set_as_default: bool = True,
        name: str | None = None,
        **cluster_kwargs: Any,
    ) -> None:
        super().__init__(
            address,
            scheduler_file=scheduler_file,
            credentials=credentials,
            timeout=timeout,
            asynchronous=asynchronous,
            set_as_default=set_as_default,
            name=name,
            cluster_options=cluster_kwargs,
        )

    @classmethod
    def current(cls) -> Client:
        """The client that is meant here; see ``get_client``.

        Examples
        --------
        >>> Client.current() is client
        True
        """
        return defaults.get_client()

    # ---- calls ------------------------------------------------------------------------------------------------------

    def submit(
        self,
        func: Callable[..., T],
        *args: Any,
        key: Key | None = None,
        pure: bool = False,
        workers: str | Iterable[str] | None = None,
        allow_other_workers: bool = False,
        resources: Mapping[str, float] | None = None,
        retries: int | Retry = 0,
        priority: float = 0,
        timeout: float | str | None = None,
        **kwargs: Any,
    ) -> Future[T]:
        """Run ``func(*args, **kwargs)`` on the cluster.

        Futures in the arguments, at any depth, are replaced by their results; the call waits for them.

        Parameters
        ----------
        func : callable
            What to run.
        *args, **kwargs : object
            Its arguments.
        key : Key, optional
            Names the task. A key that this client holds already gives another future of that task; nothing runs.
        pure : bool
            True: the same function with the same arguments is run once, as long as there is a future of it. Unlike in
            ``dask.distributed`` the default is False: every call runs.
        workers : str or iterable of str, optional
            Names, addresses or hosts of the workers that may run it.
        allow_other_workers : bool
            Whether ``workers`` is only a wish.
        resources : mapping of str to float, optional
            Amounts of abstract resources the task occupies while it runs, such as ``{"GPU": 1}``.
        retries : int or Retry
            How many times to try again if it raises. A ``Retry`` says on which errors, and after which waits, as well.
        priority : float
            Higher runs first.
        timeout : float or str, optional
            Seconds, or text such as ``"30 s"``, that one run may take; then it fails with ``TaskTimeoutError``.

        Returns
        -------
        Future
            At once.

        Raises
        ------
        SerializationError
            The function or an argument cannot be pickled.
        UsageError
            An option makes no sense.

        Examples
        --------
        >>> x = client.submit(pow, 2, 10)
        >>> client.submit(sum, [x, x]).result()
        2048
        """
        option = make_option(workers, allow_other_workers, resources, retries, priority, timeout)
        return self.submitter.submit(func, args, kwargs, key, pure, option)

    def map(
        self,
        func: Callable[..., T],
        *iterables: Iterable[Any],
        key: str | Iterable[Key] | None = None,
        pure: bool = False,
        batch_size: int | None = None,
        workers: str | Iterable[str] | None = None,
        allow_other_workers: bool = False,
        resources: Mapping[str, float] | None = None,
        retries: int | Retry = 0,
        priority: float = 0,
        timeout: float | str | None = None,
        **kwargs: Any,
    ) -> list[Future[T]]:
        """Run ``func`` on each item of an iterable, or of several in parallel (up to the shortest).

        Parameters
        ----------
        func : callable
            What to run.
        *iterables : iterable
            Positional arguments; read to the end before this returns.
        key : str or iterable of Key, optional
            A prefix of the keys, or one key per call.
        batch_size : int, optional
            Calls per message to the scheduler, at most 512.
        pure, workers, allow_other_workers, resources, retries, priority, timeout
            As for ``submit``, for each call.
        **kwargs : object
            Arguments that all calls share. Large ones are sent once.

        Returns
        -------
        list of Future
            One per call, in order.

        Raises
        ------
        SerializationError, UsageError
            As for ``submit``; or there are no iterables, or not one key per call.

        Examples
        --------
        >>> client.gather(client.map(pow, [2, 3, 4], [10, 2, 1]))
        [1024, 9, 4]
        """
        option = make_option(workers, allow_other_workers, resources, retries, priority, timeout)
        return self.submitter.map(func, iterables, kwargs, key, pure, option, batch_size)

    # ---- graphs -----------------------------------------------------------------------------------------------------

    def compute(
        self,
        collections: Any,
        sync: bool = False,
        *,
        optimize_graph: bool = True,
        traverse: bool = True,
        **options: Any,
    ) -> Any:
        """Run delayed calls; one future for each.

        Parameters
        ----------
        collections : Delayed, or list, tuple or set of those
            What to run; anything else is returned as it is.
        sync : bool
            Wait, and return values in place of futures.
        optimize_graph : bool
            Whether to run linear chains of calls as one task.
        traverse : bool
            Whether to look for delayed calls inside containers among ``collections``.
        **options
            ``workers``, ``allow_other_workers``, ``resources``, ``retries``, ``priority``, ``timeout`` as for ``submit``; for
            calls that were not annotated.

        Returns
        -------
        Future or list
            A list when ``collections`` is one. With ``sync``, values; an awaitable of them when the client is asynchronous.

        Raises
        ------
        GraphError, SerializationError
            A key names two different tasks. A function or an argument cannot be pickled.

        Examples
        --------
        >>> from myscheduler import delayed
        >>> total = delayed(sum)([delayed(abs)(-1), delayed(abs)(-2)])
        >>> client.compute(total).result()
        3
        >>> client.compute([total, total + 1], sync=True)
        [3, 4]
        """
        single = not isinstance(collections, (list, tuple, set, frozenset))
        items = [collections] if single else list(collections)
        if traverse:
            items = [delayed(item) if _holds_delayed(item) else item for item in items]
        nodes = [item for item in items if isinstance(item, Delayed) and not isinstance(item, DelayedFuture)]
        keys = list(dict.fromkeys(node.key for node in nodes))
        graph = collect(nodes)
        if optimize_graph:
            graph = fuse_linear(graph, keys)
        futures = self.scheduler.graphs.submit(graph, keys, **options)
        found = [_future_of(item, futures) for item in items]
        outcome = found[0] if single else found
        return self.gather(outcome) if sync else outcome

    def persist(self, collections: Any, *, optimize_graph: bool = True, traverse: bool = True, **options: Any) -> Any:
        """Start delayed calls and keep the results on the cluster.

        Parameters
        ----------
        collections, optimize_graph, traverse, **options
            As for ``compute``.

        Returns
        -------
        object
            Like ``collections``, with each ``Delayed`` standing for the kept result.

        Examples
        --------
        >>> from myscheduler import delayed
        >>> base = client.persist(delayed(pow)(2, 10))     # runs now, once
        >>> (base + 1).compute(), (base + 2).compute()
        (1025, 1026)
        """
        single = not isinstance(collections, (list, tuple, set, frozenset))
        kept = graph_compute.persist(
            *([collections] if single else collections),
            scheduler=self.scheduler,
            optimize_graph=optimize_graph,
            traverse=traverse,
            **options,
        )
        return kept[0] if single else list(kept)

    def get(self, dsk: Mapping[Any, Any], keys: Any, sync: bool = True, **options: Any) -> Any:
        """Run a graph written as a plain dict.

        Parameters
        ----------
        dsk : mapping
            ``{key: (function, argument, ...), ...}``.
        keys : Key or list
            What is wanted; lists may nest.
        sync : bool
            False returns futures in place of values.
        **options
            As for ``compute``.

        Returns
        -------
        object
            Values, or futures, in the shape of ``keys``. A graph that cannot be run raises GraphError.

        Examples
        --------
        >>> client.get({"x": (abs, -1), "y": (max, "x", 2)}, ["x", "y"])
        [1, 2]
        """
        futures = self.scheduler.graphs.submit_plain(dsk, list(flatten(keys)), **options)
        nested = refill(keys, dict(futures))
        return self.gather(nested) if sync else nested

    # ---- data -------------------------------------------------------------------------------------------------------

    def gather(self, futures: Any, errors: Errors = "raise", direct: bool | None = None) -> Any:
        """Wait for futures and fetch their results.

        Parameters
        ----------
        futures : Future, or nested lists, tuples, sets and dicts of those
            What to fetch; results come in the same shape. Other things in there are left as they are.
        errors : {"raise", "skip"}
            What to do about those that fail: raise the first one's exception, or leave them out.
        direct : bool, optional
            False fetches through the scheduler even from workers that can be reached.

        Returns
        -------
        object
            The results; an awaitable of them when the client is asynchronous.

        Raises
        ------
        Exception
            Whatever the first task that failed raised.
        CancelledError, LostDataError
            A task was cancelled, or its result is gone and cannot be made again.

        Examples
        --------
        >>> x, broken = client.submit(abs, -1), client.submit(abs, None)
        >>> client.gather({"x": x, "both": [x, broken]}, errors="skip")
        {'x': 1, 'both': [1]}
        """
        session = self.session
        if self.asynchronous:
            return gather_async(session, futures, errors, direct)
        return gather(session, futures, errors, direct)

    def scatter(
        self,
        data: Any,
        workers: str | Iterable[str] | None = None,
        broadcast: bool = False,
        direct: bool | None = None,
        hash: bool = True,
        timeout: float | str | None = None,
    ) -> Any:
        """Send data to workers ahead of the tasks that use it.

        Scattered data cannot be made again: when its last worker dies, it is lost.

        Parameters
        ----------
        data : list, tuple, set, dict or object
            Several values, values by key, or one value.
        workers : str or iterable of str, optional
            Where it may go.
        broadcast : bool
            Send everything to all (of these) workers.
        direct : bool, optional
            False sends through the scheduler even to workers that can be reached.
        hash : bool
            Whether equal values get the same key, and so are sent once.
        timeout : float or str, optional
            Seconds until there must be a worker; 30 by default.

        Returns
        -------
        list, tuple, set, dict or Future
            Futures in the shape of ``data``; an awaitable of them when the client is asynchronous.

        Raises
        ------
        TimeoutError, SerializationError
            There was no worker in time. A value cannot be pickled.

        Examples
        --------
        >>> [table] = client.scatter([list(range(1000))])
        >>> client.submit(max, table).result()
        999
        """
        seconds = parse_seconds(timeout) or _SCATTER_TIMEOUT_S
        if isinstance(data, Future) or Nested(data).futures:
            raise UsageError("scatter() takes data; futures refer to data that is on the cluster already")
        session = self.session
        items = scatter.prepare(session, self.submitter, data, hash)

        async def send() -> Any:
            futures = await scatter.scatter(
                session, self.submitter, items, names_of(workers), broadcast, direct, seconds
            )
            return scatter.arrange(data, futures)

        return self._do(send())

    # ---- futures ----------------------------------------------------------------------------------------------------

    def cancel(self, futures: Any, reason: str | None = None, force: bool = False) -> Any:
        """Cancel tasks, and what depends on them. One that is running already goes on, but its result is thrown away.

        Parameters
        ----------
        futures : Future, or nested containers of those
            What to cancel.
        reason : str, optional
            Part of the CancelledError that those see who wait.
        force : bool
            Cancel even what other clients want, too.

        Examples
        --------
        >>> import time
        >>> future = client.submit(time.sleep, 1)
        >>> client.cancel(future, reason="not needed any more")
        >>> future.status
        'cancelled'
        """
        records = [future.record for future in Nested(futures).futures]
        text = reason or f"by client {self.session.incarnation}"
        ask = self.session.ask
        return self._do(ask(lambda token: self.session.machine.cancel(token, records, force, text)))

    def retry(self, futures: Any) -> Any:
        """Run failed tasks again, beginning with the one that failed first.

        Parameters
        ----------
        futures : Future, or nested containers of those
            What to retry; those that have not failed are left alone.

        Examples
        --------
        >>> import os
        >>> size = client.submit(os.path.getsize, "report.txt")
        >>> size.exception()
        FileNotFoundError(2, 'No such file or directory')
        >>> with open("report.txt", "w") as file:
        ...     _ = file.write("all is well")
        >>> _ = client.retry(size)
        >>> size.result()
        11
        """
        records = [future.record for future in Nested(futures).futures]
        ask = self.session.ask
        return self._do(ask(lambda token: self.session.machine.retry(token, records)))


def _holds_delayed(item: Any) -> bool:
    if isinstance(item, Delayed):
        return False
    return any(isinstance(ref, Delayed) for ref in find_refs([item]).values())


def _future_of(item: Any, futures: dict[Key, Future[Any]]) -> Any:
    if isinstance(item, DelayedFuture):
        return item.future
    return futures[item.key] if isinstance(item, Delayed) else item


schedulers.register_type(Client, lambda client: client.scheduler)
schedulers.provide_current(current_scheduler)
