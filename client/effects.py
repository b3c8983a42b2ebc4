"""What a call of the machine has for those who wait, and what it remembers of open requests."""

from __future__ import annotations

from typing import Any, NamedTuple

from .records import Record


class Answer(NamedTuple):
    """A request is answered. ``value`` is ``(code, text)`` when not ``ok``; ``(rows, missing)`` for FETCH."""

    token: Any
    ok: bool
    value: Any


class Effects:
    """What the shell must tell waiting users, after one call of the machine."""

    __slots__ = ("answers", "settled")

    def __init__(self) -> None:
        self.settled: dict[Any, list[Record]] = {}  # waiter -> records that got their outcome, in order
        self.answers: list[Answer] = []


class Request(NamedTuple):
    """An open request: who waits for the answer, and the records that a grant or refusal changes."""

    token: Any
    op: int
    records: tuple[Record, ...] = ()
    reason: str = ""
