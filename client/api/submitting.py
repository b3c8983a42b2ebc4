"""From calls to SUBMIT rows: keys, options, pickling. Runs in the users' threads; the lock is held only to queue."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from ...base.errors import UsageError
from ...base.keys import Key, validate_key
from ...base.limits import NAME_CHARS_MAX, ROWS_PER_MESSAGE_MAX
from ...base.refs import TaskRef
from ...graph.annotations import make_options
from ...graph.retry import Retry
from ...graph.task import TaskOptions, identity
from ...graph.tokenize import tokenize_with
from ...protocol.blob import Payload, payload_nbytes
from ...protocol.messages import Row
from ...protocol.pickling import dumps, dumps_call, dumps_function
from ..outbox import DEFAULT_OPTION, Call, Option, Terms
from ..records import Record
from .futures import Future, make_futures
from .outcomes import USABLE, check_argument
from .session import Session

#: A keyword argument of ``map`` larger than this is sent once, as a task of its own, instead of with every call.
SHARED_BYTES_MIN: Final = 1024


def make_option(
    workers: str | Iterable[str] | None = None,
    allow_other_workers: bool = False,
    resources: Mapping[str, float] | None = None,
    retries: int | Retry = 0,
    priority: float = 0,
    timeout: float | str | None = None,
) -> Option:
    """Check the users' options and put them into the form of a SUBMIT row.

    Examples
    --------
    >>> make_option(workers="alice", retries=2)
    (0, 2, ('alice',), False, None, None)
    >>> make_option(allow_other_workers=True)
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.UsageError: allow_other_workers=True means nothing without workers=
    """
    plain = workers is None and not allow_other_workers and not resources
    if plain and retries == 0 and priority == 0 and timeout is None:
        return DEFAULT_OPTION
    if allow_other_workers and workers is None:
        raise UsageError("allow_other_workers=True means nothing without workers=")
    return option_of(
        make_options(
            workers=workers,
            allow_other_workers=allow_other_workers,
            resources=resources or None,
            retries=retries,
            priority=priority,
            timeout=timeout,
        )
    )


def option_of(options: TaskOptions) -> Option:
    """A task's own options, in the form of a SUBMIT row."""
    retries = options.retries
    terms: Terms | None = None
    if isinstance(retries, Retry):
        on = None if retries.on is None else _pickle_classes(retries.on)
        terms = (retries.delay, retries.backoff, retries.max_delay, on, options.timeout)
        retries = retries.times
    elif options.timeout is not None:
        terms = (0.0, 1.0, None, None, options.timeout)
    return (options.priority, retries, options.workers, options.allow_other_workers, options.resources, terms)


@functools.lru_cache(maxsize=64)
def _pickle_classes(classes: tuple[type[BaseException], ...]) -> bytes:
    payload = dumps(classes, "the exception classes of Retry(on=...)")
    if not isinstance(payload, bytes):
        raise UsageError("the exception classes of Retry(on=...) are too large when pickled; define them in a module")
    return payload


def name_of(func: Callable[..., Any]) -> str:
    """A short name for a callable, for keys and progress bars.

    Examples
    --------
    >>> name_of(len), name_of(lambda: 0), name_of(functools.partial(max, 1)), name_of("a".join)
    ('len', 'lambda', 'max', 'join')
    """
    while isinstance(func, functools.partial):
        func = func.func
    name = getattr(func, "__name__", None) or type(func).__name__
    return str(name).strip("<>")[: NAME_CHARS_MAX // 4]


class Request:
    """A SUBMIT in slices: earlier ones travel while later ones are still being pickled.

    As a context manager it closes the request when pickling fails half way, so that the scheduler does not wait for the
    rest.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        with session.lock:
            self._request = session.machine.new_request()
        self._begun = self._ended = False

    def send(
        self,
        functions: Iterable[tuple[bytes, Payload]],
        options: Sequence[Option],
        rows: Sequence[Row],
        wants: tuple[int, ...] | None,
        more: bool,
    ) -> list[Record]:
        """Queue a slice; returns a reference to the record of each wanted row."""
        session = self._session
        with session.lock:
            records = session.machine.submit_slice(self._request, functions, options, rows, wants, more)
        self._begun, self._ended = True, not more
        session.wake()
        return records

    def __enter__(self) -> Request:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._begun and not self._ended and self._session.is_open:
            self.send((), (), (), (), more=False)


class Submitter:
    """Submits single calls and maps of one session.

    Parameters
    ----------
    session : Session
        Where to queue.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._suffix = session.incarnation[:8]
        self._counter = itertools.count()

    def new_key(self, name: str) -> str:
        """A key nobody else has: the name, this client, a number."""
        return f"{name}-{self._suffix}-{next(self._counter)}"

    def submit(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: Key | None,
        pure: bool,
        option: Option,
    ) -> Future[Any]:
        """Queue one call."""
        check_callable(func)
        name = name_of(func)
        if key is not None:
            validate_key(key)
        elif pure:
            key = f"{name}-{tokenize_with(self._session.digest_of_large, func, args, kwargs)}"
        session = self._session
        if key is None:
            key = self.new_key(name)
        else:
            held = self._find(key)
            if held is not None:
                return held
        func_id, function = dumps_function(func)
        payload, deps = self.pickle_call(name, args, kwargs, many=True)
        with session.lock:
            record = session.machine.submit(Call(key, func_id, payload, deps), function, option)
        session.wake()
        return make_futures(session, (record,))[0]

    def map(
        self,
        func: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        kwargs: dict[str, Any],
        key: str | Iterable[Key] | None,
        pure: bool,
        option: Option,
        batch_size: int | None,
    ) -> list[Future[Any]]:
        """Queue one call per item, in slices."""
        check_callable(func)
        if not iterables:
            raise UsageError("map() needs at least one iterable of arguments: client.map(func, items)")
        if batch_size is not None and batch_size < 1:
            raise UsageError(
                f"batch_size={batch_size!r} is not a number of calls; leave it out to let the client choose"
            )
        size = min(batch_size or ROWS_PER_MESSAGE_MAX, ROWS_PER_MESSAGE_MAX)
        items = list(zip(*iterables))
        name = name_of(func)
        kwargs, shared = self._share(kwargs, option) if len(items) > 1 else (kwargs, [])
        keys = self._map_keys(name, func, items, kwargs, key, pure)
        fresh = key is None and not pure
        function = dumps_function(func)
        futures: list[Future[Any]] = []
        with Request(self._session) as request:
            for start in range(0, len(items), size):
                stop = min(start + size, len(items))
                made: list[Future[Any] | None] = (
                    [None] * (stop - start) if fresh else list(map(self._find, keys[start:stop]))
                )
                rows = self._map_rows(name, function[0], items[start:stop], keys[start:stop], kwargs, made, start)
                records = request.send((function,), (option,), rows, None, more=stop < len(items))
                new = iter(make_futures(self._session, records))
                futures += new if fresh else [next(new) if future is None else future for future in made]
        # The hidden futures may go now: the tasks that need their data are known to the scheduler before the release is.
        del shared
        return futures

    def _map_rows(
        self,
        name: str,
        func_id: bytes,
        items: list[tuple[Any, ...]],
        keys: list[Key],
        kwargs: dict[str, Any],
        made: list[Future[Any] | None],
        order: int,
    ) -> list[Row]:
        pickle_call = self.pickle_call
        rows: list[Row] = []
        for key, args, held in zip(keys, items, made, strict=True):
            if held is None:
                payload, deps = pickle_call(name, args, kwargs)
                rows.append((key, func_id, payload, deps, order, 0))
            order += 1
        return rows

    def _map_keys(
        self,
        name: str,
        func: Callable[..., Any],
        items: list[tuple[Any, ...]],
        kwargs: dict[str, Any],
        key: str | Iterable[Key] | None,
        pure: bool,
    ) -> list[Key]:
        if key is not None and not isinstance(key, str):
            keys = [validate_key(each) for each in key]
            if len(keys) != len(items):
                raise UsageError(
                    f"map() got {len(keys)} keys for {len(items)} calls; give one key per call, or a prefix"
                )
            return keys
        prefix = name if key is None else str(validate_key(key))
        if pure:
            digest = self._session.digest_of_large
            return [f"{prefix}-{tokenize_with(digest, func, args, kwargs)}" for args in items]
        base = f"{prefix}-{self._suffix}-"
        return [f"{base}{number}" for number in itertools.islice(self._counter, len(items))]

    def _share(self, kwargs: dict[str, Any], option: Option) -> tuple[dict[str, Any], list[Future[Any]]]:
        """Large keyword arguments become tasks of their own; returns the new keywords and what keeps them alive."""
        shared: list[Future[Any]] = []
        new = dict(kwargs)
        for name, value in kwargs.items():
            payload, deps = self.pickle_call(name, (value,), {})
            if payload_nbytes(payload) > SHARED_BYTES_MIN:
                func_id, function = dumps_function(identity)
                call = Call(self.new_key(name), func_id, payload, deps)
                # Priority only: the data may be made anywhere.
                with self._session.lock:
                    record = self._session.machine.submit(call, function, make_option(priority=option[0]))
                shared += make_futures(self._session, (record,))
                new[name] = shared[-1]
        return new, shared

    def _find(self, key: Key) -> Future[Any] | None:
        """Another future of a key that this client holds already."""
        with self._session.lock:
            record = self._session.machine.find(key)
        return None if record is None else make_futures(self._session, (record,))[0]

    def pickle_call(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], many: bool = False
    ) -> tuple[Payload, tuple[Key, ...]]:
        """Pickle arguments; returns the payload and the keys it refers to."""
        payload, refs = dumps_call(name, args, kwargs, many)
        if not refs:
            return payload, ()
        session = self._session
        for ref in refs.values():
            if type(ref) is not Future or ref.session is not session or ref.record.state not in USABLE:
                self.check_reference(ref, name)
        return payload, tuple(refs)

    def check_reference(self, ref: TaskRef, name: str) -> None:
        """Raise if a reference in an argument cannot be followed on this cluster."""
        if isinstance(ref, Future):
            if ref.session is not self._session and ref.session.cluster != self._session.cluster:
                raise UsageError(f"an argument of {name!r} holds future {ref.key!r}, which belongs to another cluster")
            check_argument(ref.record)
        elif type(ref) is not TaskRef:
            raise UsageError(
                f"an argument of {name!r} holds {ref!r}, which has not been submitted; "
                "pass client.compute(...) or client.persist(...) of it"
            )


def check_callable(func: Any) -> None:
    """Raise unless ``func`` can be called."""
    if not callable(func):
        raise UsageError(f"the first argument must be a function to call, not {type(func).__name__} {func!r:.80}")
