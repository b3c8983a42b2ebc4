"""The values a worker holds: results of its tasks, copies from peers, scattered data. Event loop thread only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...base.keys import Key


class Store:
    """Values by key, each with the attempt that made it and its size.

    Attempts grow, so a value never replaces one of a higher attempt.

    Examples
    --------
    >>> store = Store()
    >>> store.put("x", 2, "value", 54)
    >>> store.put("x", 1, "older", 54)
    >>> store["x"], store.nbytes
    ('value', 54)
    >>> store.drop([("x", 1)])
    >>> len(store)
    1
    >>> store.drop([("x", 2)])
    >>> len(store), store.nbytes
    (0, 0)
    """

    __slots__ = ("_entries", "nbytes")

    def __init__(self) -> None:
        self._entries: dict[Key, tuple[int, Any, int]] = {}
        #: estimated size of all values, in bytes
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __getitem__(self, key: Key) -> Any:
        return self._entries[key][1]

    def put(self, key: Key, attempt: int, value: Any, nbytes: int) -> None:
        """Keep a value, unless one of this or a newer attempt is here."""
        entries = self._entries
        held = entries.get(key)
        if held is not None:
            if held[0] >= attempt:
                return
            self.nbytes -= held[2]
        entries[key] = (attempt, value, nbytes)
        self.nbytes += nbytes

    def find(self, key: Key, attempt: int) -> tuple[int, Any, int] | None:
        """The entry (attempt, value, bytes) of a key if it is of this attempt; attempt 0 means any."""
        held = self._entries.get(key)
        return held if held is not None and attempt in (0, held[0]) else None

    def drop(self, copies: Iterable[tuple[Key, int]]) -> None:
        """Forget copies (key, attempt); those of another attempt stay."""
        entries = self._entries
        for key, attempt in copies:
            held = entries.get(key)
            if held is not None and held[0] == attempt:
                del entries[key]
                self.nbytes -= held[2]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.nbytes = 0
