"""An event loop whose process may wait awake: for a moment, when the next thing is about to come.

A processor that sleeps takes longer to be woken up, on virtual machines above all, than many a turn takes.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Lets another thread have the processor, if one wants it; without that, nobody waits awake.
_give_way: Final[Callable[[], None] | None] = getattr(os, "sched_yield", None)


class AttentiveSelector(selectors.DefaultSelector):
    """A selector that looks again and again until ``until``, and only then sleeps.

    Attributes
    ----------
    until : float
        Seconds of ``time.monotonic``, which is the clock of the event loop.

    Examples
    --------
    >>> selector = AttentiveSelector()
    >>> selector.until = time.monotonic() + 0.001
    >>> selector.select(0.002)
    []
    """

    until = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; waits for it as told."""
        if (timeout is None or timeout > 0) and _give_way is not None:
            began = now = time.monotonic()
            until = self.until if timeout is None else min(self.until, began + timeout)
            while now < until:
                if ready := super().select(0):
                    return ready
                _give_way()
                now = time.monotonic()
            if timeout is not None:
                timeout = max(timeout - (now - began), 0)
        return super().select(timeout)


def run(main: Callable[[AttentiveSelector], Coroutine[Any, Any, T]]) -> T:
    """As ``asyncio.run``, with an attentive selector, which ``main`` is given.

    Examples
    --------
    >>> async def main(selector):
    ...     return selector.until
    >>> run(main)
    0.0
    """
    selector = AttentiveSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        return runner.run(main(selector))
