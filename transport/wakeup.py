"""Wakes an event loop from other threads, at two thirds of what ``call_soon_threadsafe`` costs both threads together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress


class Wakeup:
    """Has one function called on an event loop, soon after any thread has asked for it, and once for all that asked.

    To be made, and closed, on the loop's thread.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        Where to call it.
    callback : callable
        Is called without arguments.
    """

    __slots__ = ("_asked", "_callback", "_loop", "_reader", "_writer")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._asked = False
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        # Objects, for they know when they are closed; a bare descriptor may be somebody else's by then.
        self._reader = open(reader, "rb", buffering=0)  # noqa: SIM115 (until close)
        self._writer = open(writer, "wb", buffering=0)  # noqa: SIM115 (until close)
        loop.add_reader(self._reader, self._on_asked)

    def ask(self) -> None:
        """Have the function called; any thread, even while it collects garbage. Does nothing once closed."""
        if not self._asked:
            self._asked = True
            with suppress(ValueError):
                self._writer.write(b"\0")

    def _on_asked(self) -> None:
        self._reader.read(16)
        self._asked = False  # whoever asks from here on may have come too late for this call
        self._callback()

    def close(self) -> None:
        """Call nothing any more. Idempotent."""
        if not self._writer.closed:
            self._loop.remove_reader(self._reader)
            self._writer.close()
            self._reader.close()
