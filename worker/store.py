"""The values a worker holds: results of its tasks, copies from peers, scattered data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from ..base.keys import Key
from .events import Copy

#: attempt, value, bytes
Entry: TypeAlias = tuple[int, Any, int]
#: So many values are kept in one table, about. A table that grows is moved, and with twice as many that takes 16 ms.
TABLE_MAX: Final = 170_000
#: A table with so many times fewer has become sparse.
_FEWER: Final = 4


class Store:
    """Values by key, each with the attempt that made it and its size.

    Which of several attempts counts is not decided here: a second one is put aside until one of the two is dropped.

    Examples
    --------
    >>> store = Store()
    >>> store.put("x", 2, "value", 54)
    >>> store.put("x", 3, "another", 56)
    >>> store["x"], store.nbytes
    ('value', 110)
    >>> store.drop([("x", 2)])
    >>> store["x"], store.nbytes
    ('another', 56)
    >>> store.drop([("x", 3)])
    >>> len(store), store.nbytes
    (0, 0)
    """

    __slots__ = ("_aside", "_entries", "_full", "nbytes")

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._full: list[dict[Key, Entry]] = []  # tables that take no other keys
        self._aside: dict[Key, list[Entry]] = {}
        #: estimated size of all values, in bytes
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._entries) + sum(map(len, self._full))

    def __contains__(self, key: Key) -> bool:
        return key in self._table_of(key)

    def __getitem__(self, key: Key) -> Any:
        return (self._table_of(key) if self._full else self._entries)[key][1]

    def _table_of(self, key: Key) -> dict[Key, Entry]:
        """Where the key is, or would be."""
        for table in self._full:
            if key in table:
                return table
        return self._entries

    def put(self, key: Key, attempt: int, value: Any, nbytes: int) -> None:
        """Keep a value; beside that of another attempt, if there is one, until one of them is dropped."""
        entries = self._entries
        if self._full:
            entries = self._table_of(key)
        entry = (attempt, value, nbytes)
        held = entries.get(key)
        if held is None:
            entries[key] = entry
        elif attempt == held[0] or any(other[0] == attempt for other in self._aside.get(key, ())):
            return
        else:
            self._aside.setdefault(key, []).append(entry)
        self.nbytes += nbytes

    def make_room(self) -> None:
        """To be called before some thousand values are put: if the table is full, begin another.

        What is left in tables that have become sparse goes into the new one.
        """
        if len(self._entries) < TABLE_MAX:
            return
        tables = [*self._full, self._entries]
        self._full = [table for table in tables if len(table) * _FEWER >= TABLE_MAX]
        self._entries = {}
        for table in tables:
            if len(table) * _FEWER < TABLE_MAX:
                self._entries.update(table)

    def find(self, key: Key, attempt: int) -> Entry | None:
        """The entry (attempt, value, bytes) of a key if it is of this attempt; attempt 0 means any."""
        held = self._table_of(key).get(key)
        return held if held is not None and attempt in (0, held[0]) else None

    def copies(self) -> list[Copy]:
        """All copies (key, attempt) that are held, those put aside included."""
        held = [(key, entry[0]) for table in (*self._full, self._entries) for key, entry in table.items()]
        return held + [(key, other[0]) for key, others in self._aside.items() for other in others]

    def drop(self, copies: Iterable[Copy]) -> None:
        """Forget copies (key, attempt); those of another attempt stay."""
        entries = self._entries
        for key, attempt in copies:
            if self._full:
                entries = self._table_of(key)
            held = entries.get(key)
            if held is not None and held[0] == attempt:
                self.nbytes -= held[2]
                if key in self._aside:
                    entries[key] = self._take_aside(key, 0)
                else:
                    del entries[key]
            else:
                for position, other in enumerate(self._aside.get(key, ())):
                    if other[0] == attempt:
                        self.nbytes -= self._take_aside(key, position)[2]
                        break
        if self._full:
            self._full = [table for table in self._full if table]

    def _take_aside(self, key: Key, position: int) -> Entry:
        others = self._aside[key]
        entry = others.pop(position)
        if not others:
            del self._aside[key]
        return entry

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._full.clear()
        self._aside.clear()
        self.nbytes = 0
