"""The inputs of a run: values by key, and parts of values by name, see ``base/items.py``."""

from __future__ import annotations

from operator import getitem
from typing import Any

from ...base.items import base_of, index_of, is_item, name_of
from ...base.keys import Key
from ...protocol import pickling
from ...protocol.blob import Payload
from ...protocol.messages import FLAG_ITEMS, Row
from ..store import Store


def inputs_of(row: Row, store: Store, made: Key | None = None) -> dict[Key, Any]:
    """The inputs of a row of COMPUTE, all but that which is yet to be ``made``.

    Examples
    --------
    >>> from myscheduler.base.items import make_item
    >>> store = Store()
    >>> store.put("rows", 1, ["a", "b"], 100)
    >>> item = make_item("part-1", "rows", 1)
    >>> inputs = inputs_of(("use", 2, b"f", b"", 0, (item,), (), FLAG_ITEMS), store)
    >>> inputs["part-1"]
    'b'
    """
    if row[7] & FLAG_ITEMS:
        return _Inputs(row[5], store, made)
    return {key: store[key] for key in row[5] if key != made}


class _Inputs(dict[Key, Any]):
    """Takes parts out of values when they are asked for: in the thread of the run, whose error it is if that fails."""

    __slots__ = ("_wholes",)

    def __init__(self, deps: tuple[Key, ...], store: Store, made: Key | None) -> None:
        self._wholes: dict[Key, tuple[Any, Any]] = {}
        for dep in deps:
            if is_item(dep):
                found = store[dep] if dep in store else store[base_of(dep)]
                if dep in store and type(found) is not FailedPart:
                    self[name_of(dep)] = found
                else:
                    self._wholes[name_of(dep)] = (found, index_of(dep))
            elif dep != made:
                self[dep] = store[dep]

    def __missing__(self, name: Key) -> Any:
        whole, index = self._wholes[name]
        part = self[name] = getitem(whole, index)
        return part


class FailedPart:
    """Is sent instead of a part that could not be taken where the whole is.

    Examples
    --------
    >>> take([1, 2], 1), take([1, 2], 3)[3]
    Traceback (most recent call last):
    ...
    IndexError: list index out of range
    """

    def __init__(self, payload: Payload, text: str, traceback_text: str) -> None:
        self._error = (payload, text, traceback_text)

    def __getitem__(self, index: Any) -> Any:
        raise pickling.loads_exception(*self._error)


def take(whole: Any, index: Any) -> Any:
    """A part of a value, for somebody else."""
    try:
        return getitem(whole, index)
    except BaseException as error:  # noqa: BLE001 (code of the user may raise anything; who needs the part is told)
        return FailedPart(*pickling.dumps_exception(error))
