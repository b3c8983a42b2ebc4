"""Sending data to workers directly; through the scheduler where they cannot be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from ...base.errors import ClusterError
from ...base.keys import Key, validate_key
from ...base.limits import MIB, ROWS_PER_MESSAGE_MAX
from ...graph.task import identity
from ...graph.tokenize import tokenize_with
from ...protocol.blob import Payload, payload_nbytes
from ...protocol.messages import Row
from ...protocol.pickling import dumps
from ..records import Record
from .futures import Future, make_futures
from .session import NoWorkersError, Session
from .submitting import Submitter, make_option, name_of

_BYTES_PER_REQUEST: Final = 64 * MIB


class Item(NamedTuple):
    """One value to scatter."""

    key: Key
    value: Any
    payload: Payload


class _Place(NamedTuple):
    """Where the scheduler wants an item."""

    item: Item
    attempt: int
    holders: tuple[tuple[str, str], ...]  # (incarnation, address)


class _Stored(NamedTuple):
    nbytes: int
    type_name: str
    incarnations: list[str]


def prepare(session: Session, submitter: Submitter, data: Any, use_hash: bool) -> list[Item]:
    """Name and pickle the values of what the user gave, in the user's thread.

    A dict names its values itself; lists, tuples and sets hold values; anything else is one value.
    """
    if isinstance(data, dict):
        return [Item(validate_key(key), value, dumps(value, f"data {key!r}")) for key, value in data.items()]
    values = list(data) if isinstance(data, (list, tuple, set, frozenset)) else [data]
    items = []
    for value in values:
        name = name_of(type(value))
        if use_hash:
            # Before any of the data can be sent, all of it has to be read.
            key = f"{name}-{tokenize_with(session.digest_of_large, type(value), value)}"
        else:
            key = submitter.new_key(name)
        items.append(Item(key, value, dumps(value, f"data of type {name}")))
    return items


def arrange(data: Any, futures: list[Future[Any]]) -> Any:
    """Futures in the shape of the data."""
    if isinstance(data, dict):
        return dict(zip(data, futures, strict=True))
    if isinstance(data, (list, tuple, set, frozenset)):
        kind = list if hasattr(type(data), "_fields") else type(data)
        return kind(futures)
    return futures[0]


async def scatter(
    session: Session,
    submitter: Submitter,
    items: Sequence[Item],
    workers: tuple[str, ...] | None,
    broadcast: bool,
    direct: bool | None,
    timeout: float,
) -> list[Future[Any]]:
    """Place the items on workers; returns a future for each, in order. On the session's loop."""
    try:
        async with asyncio.timeout(timeout):
            return await _scatter(session, submitter, items, workers, broadcast, direct)
    except TimeoutError:
        raise TimeoutError(f"no worker took the data within {timeout:g} s; see client.nthreads()") from None


async def _scatter(
    session: Session,
    submitter: Submitter,
    items: Sequence[Item],
    workers: tuple[str, ...] | None,
    broadcast: bool,
    direct: bool | None,
) -> list[Future[Any]]:
    made: dict[Key, Future[Any]] = {}
    fresh: dict[Key, Item] = {}
    for item in items:
        with session.lock:
            record = session.machine.find(item.key)
        if record is not None:
            made[item.key] = make_futures(session, (record,))[0]
        else:
            fresh[item.key] = item
    places = await _place(session, list(fresh.values()), workers, broadcast) if direct is not False else []
    stored = await _store(session, places)
    for future in await _announce(session, places, stored):
        made[future.key] = future
    for item in fresh.values():
        if item.key not in made:
            # No worker took it from us directly: let it travel through the scheduler, as a task's argument.
            option = make_option(workers=workers)
            made[item.key] = submitter.submit(identity, (item.value,), {}, item.key, False, option)
    return [made[item.key] for item in items]


async def _place(session: Session, items: list[Item], workers: tuple[str, ...] | None, broadcast: bool) -> list[_Place]:
    """Ask the scheduler where the items should live; waits for the first worker if there is none."""
    places: list[_Place] = []
    for start in range(0, len(items), ROWS_PER_MESSAGE_MAX):
        group = items[start : start + ROWS_PER_MESSAGE_MAX]
        keys = tuple(item.key for item in group)
        try:
            rows = await session.call("place", len(group), workers, broadcast, keys)
        except NoWorkersError:
            await session.call("wait_for_workers", 1)
            rows = await session.call("place", len(group), workers, broadcast, keys)
        places += [_Place(item, attempt, holders) for item, (attempt, holders) in zip(group, rows, strict=True)]
    return places


async def _store(session: Session, places: list[_Place]) -> dict[Key, _Stored]:
    """Send each item to its workers; says who has what now."""
    by_worker: dict[tuple[str, str], list[_Place]] = {}
    for place in places:
        for holder in place.holders:
            by_worker.setdefault(holder, []).append(place)
    stored: dict[Key, _Stored] = {}
    answers = await asyncio.gather(*(_put(session, address, group) for (_, address), group in by_worker.items()))
    for (incarnation, _), rows in zip(by_worker, answers, strict=True):
        for key, _, nbytes, type_name in rows:
            stored.setdefault(key, _Stored(nbytes, type_name, [])).incarnations.append(incarnation)
    return stored


async def _put(session: Session, address: str, places: list[_Place]) -> list[Row]:
    """Rows (key, attempt, nbytes, type_name) of what one worker took."""
    taken: list[Row] = []
    for group in _slices(places):
        rows = tuple((place.item.key, place.attempt, place.item.payload) for place in group)
        try:
            taken += await session.data.put(address, rows)
        except ClusterError:
            break  # the items without a holder go through the scheduler
    return taken


async def _announce(session: Session, places: list[_Place], stored: dict[Key, _Stored]) -> list[Future[Any]]:
    """Tell the scheduler what is where, and hold it."""
    rows = [
        (place.item.key, place.attempt, found.nbytes, found.type_name, tuple(found.incarnations))
        for place in places
        if (found := stored.get(place.item.key)) is not None
    ]
    futures: list[Future[Any]] = []
    for start in range(0, len(rows), ROWS_PER_MESSAGE_MAX):
        group = tuple(rows[start : start + ROWS_PER_MESSAGE_MAX])
        records: list[Record] = []

        def tell(token: Any, group: tuple[Row, ...] = group, records: list[Record] = records) -> None:
            records += session.machine.placed(token, group)

        try:
            await session.ask(tell)
        finally:
            # Made in any case: dropping them is how the records are released.
            futures += make_futures(session, records)
    return futures


def _slices(places: Iterable[_Place]) -> Iterator[list[_Place]]:
    group: list[_Place] = []
    nbytes = 0
    for place in places:
        size = payload_nbytes(place.item.payload)
        if group and (len(group) == ROWS_PER_MESSAGE_MAX or nbytes + size > _BYTES_PER_REQUEST):
            yield group
            group, nbytes = [], 0
        group.append(place)
        nbytes += size
    if group:
        yield group
