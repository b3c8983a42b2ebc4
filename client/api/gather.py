"""Fetching results: what is at hand, else from the workers that hold them, else through the scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ...base.errors import ClusterError, LostDataError, UsageError
from ...base.keys import Key
from ...base.limits import MIB, ROWS_PER_MESSAGE_MAX
from ...protocol.blob import Payload
from ...protocol.messages import Row
from ...protocol.pickling import loads
from ..records import FINISHED, Record
from . import waiting
from .futures import Future
from .outcomes import exception_of

if TYPE_CHECKING:
    from .session import Session

Errors: TypeAlias = Literal["raise", "skip"]

#: Given payloads.
Take: TypeAlias = Callable[[dict[Record, Payload]], None]

#: Values asked of a worker with one message. They are unpickled while the next come, so memory that they have come into is
#: used again: finding new memory takes the kernel longer than receiving. Smaller messages cost more rounds.
_BYTES_PER_REQUEST: Final = 16 * MIB
#: Messages that one worker has to answer at a time.
_REQUESTS_AHEAD: Final = 2
#: Values asked of the scheduler with one message: it needs a moment to collect them, and memory to hold them.
_BYTES_PER_RELAY: Final = 64 * MIB


class Nested:
    """Futures in nested lists, tuples, sets and dicts: finds them, and puts their values in their places.

    Examples
    --------
    >>> nested = Nested({"a": [1, 2]})
    >>> nested.futures
    []
    >>> nested.fill({})
    {'a': [1, 2]}
    """

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        found: dict[Record, Future[Any]] = {}
        _find(shape, found)
        self.futures = list(found.values())

    def fill(self, values: dict[Record, Any]) -> Any:
        """The same shape with values for futures; futures without a value are left out of their container."""
        filled = _fill(self.shape, values)
        if filled is _SKIPPED:
            raise UsageError("errors='skip' needs a container of futures; for a single one use future.exception()")
        return filled


class _Skipped:
    """Stands for a future without a value."""


_SKIPPED: Final = _Skipped()


def _find(shape: Any, found: dict[Record, Future[Any]]) -> None:
    if isinstance(shape, Future):
        found[shape.record] = shape
    elif isinstance(shape, (list, tuple, set, frozenset)):
        for item in shape:
            _find(item, found)
    elif isinstance(shape, dict):
        for item in shape.values():
            _find(item, found)


def _fill(shape: Any, values: dict[Record, Any]) -> Any:
    if isinstance(shape, Future):
        return values.get(shape.record, _SKIPPED)
    if isinstance(shape, (list, tuple, set, frozenset)):
        items = [item for item in (_fill(item, values) for item in shape) if item is not _SKIPPED]
        kind = type(shape)
        if isinstance(shape, tuple) and hasattr(kind, "_make"):
            return kind._make(items) if len(items) == len(shape) else tuple(items)
        return kind(items)
    if isinstance(shape, dict):
        filled = {name: _fill(item, values) for name, item in shape.items()}
        return {name: item for name, item in filled.items() if item is not _SKIPPED}
    return shape


# ---- values of many futures -----------------------------------------------------------------------------------------


def gather(session: Session, shape: Any, errors: Errors, direct: bool | None, timeout: float | None = None) -> Any:
    """Wait, fetch and unpickle, blocking the calling thread."""
    nested = _prepare(session, shape, errors)
    records = [future.record for future in nested.futures]
    deadline = waiting.Deadline(timeout)
    if not waiting.block(session, records, timeout, _enough(errors)):
        raise TimeoutError(waiting.describe_timeout(records, timeout))
    payloads, away = _at_hand(records, errors)
    values = _unpack(session, payloads)
    if away:
        waiting.refuse_on_loop(session)

        def start(take: Take) -> Coroutine[Any, Any, None]:
            return _fetch_checked(session, away, errors, direct, take)

        parts = session.stream(start, deadline.remaining)
        with closing(parts):
            for part in parts:
                values |= _unpack(session, part)
    return nested.fill(values)


def gather_one(session: Session, future: Future[Any], timeout: float | None) -> Any:
    """As ``gather`` of a single future of this session, by a shorter way if its value came with the news."""
    record = future.record
    deadline = waiting.Deadline(timeout)
    if not waiting.block(session, (record,), timeout):
        raise TimeoutError(waiting.describe_timeout((record,), timeout))
    outcome = record.outcome
    if record.state == FINISHED and outcome is not None and outcome[3] is not None:
        with session.client.as_current():
            return loads(outcome[3])
    return gather(session, future, "raise", None, deadline.remaining)


async def gather_async(
    session: Session, shape: Any, errors: Errors, direct: bool | None, timeout: float | None = None
) -> Any:
    """The same, on the session's loop."""
    nested = _prepare(session, shape, errors)
    records = [future.record for future in nested.futures]
    deadline = waiting.Deadline(timeout)
    if not await waiting.until(session, records, timeout, _enough(errors)):
        raise TimeoutError(waiting.describe_timeout(records, timeout))
    payloads, away = _at_hand(records, errors)
    values = _unpack(session, payloads)
    if away:
        async with asyncio.timeout(deadline.remaining):
            await _fetch_checked(session, away, errors, direct, lambda part: values.update(_unpack(session, part)))
    return nested.fill(values)


def _prepare(session: Session, shape: Any, errors: Errors) -> Nested:
    if errors not in ("raise", "skip"):
        raise UsageError(f"errors={errors!r} is not one of 'raise', 'skip'")
    if isinstance(shape, Iterator):
        shape = list(shape)
    nested = Nested(shape)
    for future in nested.futures:
        if future.session is not session:
            raise UsageError(f"future {future.key!r} belongs to another client; gather it there (future.client.gather)")
    return nested


def _enough(errors: Errors) -> waiting.ReturnWhen:
    return waiting.FIRST_EXCEPTION if errors == "raise" else waiting.ALL_COMPLETED


def _at_hand(records: Sequence[Record], errors: Errors) -> tuple[dict[Record, Payload], list[Record]]:
    """Payloads that came along with the news, and finished records without one. Raises the first failure."""
    payloads: dict[Record, Payload] = {}
    away: list[Record] = []
    failed = [record for record in records if record.state not in (FINISHED, "pending")]
    if failed and errors == "raise":
        error = exception_of(failed[0])
        assert error is not None
        raise error
    for record in records:
        outcome = record.outcome
        if record.state != FINISHED or outcome is None:
            continue
        payload = outcome[3]
        if payload is None:
            away.append(record)
        else:
            payloads[record] = payload
    return payloads, away


def _unpack(session: Session, payloads: dict[Record, Payload]) -> dict[Record, Any]:
    # Results may hold futures; those become futures of this client.
    with session.client.as_current():
        return {record: loads(payload) for record, payload in payloads.items()}


# ---- payloads from elsewhere, on the loop ---------------------------------------------------------------------------


async def _fetch_checked(
    session: Session, records: Sequence[Record], errors: Errors, direct: bool | None, take: Take
) -> None:
    reasons = await fetch(session, records, direct, take)
    for record in records if errors == "raise" else ():
        if record.key in reasons:
            error = exception_of(record) or LostDataError(
                f"the result of {record.key!r} cannot be fetched: {reasons[record.key]}"
            )
            raise error


async def fetch(session: Session, records: Sequence[Record], direct: bool | None, take: Take) -> dict[Key, str]:
    """Get the payloads of finished records; returns reasons for those that cannot be had.

    Parameters
    ----------
    session : Session
        Whose links to use.
    records : sequence of Record
        Finished, each at most once.
    direct : bool, optional
        False asks the scheduler only; otherwise workers are asked where they can be reached.
    take : callable
        Given payloads as they come.
    """
    left = {record.key: record for record in records}

    def found(rows: Iterable[Row]) -> None:
        part = {left.pop(key): payload for key, payload in rows if key in left}
        if part:
            take(part)

    if direct is not False:
        by_address: dict[str, list[Record]] = {}
        for record in records:
            if record.state == FINISHED:
                address = record.result.address
                if address is not None and session.data.is_reachable(address):
                    by_address.setdefault(address, []).append(record)
        lanes = [
            asyncio.ensure_future(lane)
            for address, group in by_address.items()
            for lane in _lanes_from(session, address, group, found)
        ]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
    reasons: dict[Key, str] = {}
    for group in _slices(list(left.values()), _BYTES_PER_RELAY):
        rows, missing = await session.fetch(record.key for record in group)
        found(rows)
        reasons.update(missing)
    return {key: reasons.get(key, "no worker has it") for key in left}


def _lanes_from(
    session: Session, address: str, records: Sequence[Record], found: Callable[[Iterable[Row]], None]
) -> list[Coroutine[Any, Any, None]]:
    """Ask one worker for all of these, the next request on its way while an answer comes."""
    groups = list(_slices(records, _BYTES_PER_REQUEST))
    turns = iter(groups)
    return [_fetch_from(session, address, turns, found) for _ in groups[:_REQUESTS_AHEAD]]


async def _fetch_from(
    session: Session, address: str, groups: Iterator[list[Record]], found: Callable[[Iterable[Row]], None]
) -> None:
    """What one worker still has of these; nothing if it cannot be reached."""
    for group in groups:
        rows = tuple((record.key, 0) for record in group)
        try:
            found(await session.data.fetch(address, rows, max(map(_size, group))))
        except ClusterError:
            return  # the scheduler knows better where things are


def _size(record: Record) -> int:
    return record.outcome[1] if record.state == FINISHED and record.outcome is not None else 0


def _slices(records: Iterable[Record], limit: int) -> Iterator[list[Record]]:
    """Groups that one message may ask for."""
    group: list[Record] = []
    nbytes = 0
    for record in records:
        size = _size(record)
        if group and (len(group) == ROWS_PER_MESSAGE_MAX or nbytes + size > limit):
            yield group
            group, nbytes = [], 0
        group.append(record)
        nbytes += size
    if group:
        yield group
