"""Who counts as looking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from myscheduler.dashboard.handlers import Audience


class Watched:
    """Counts who watches, and says when nobody does any more."""

    def __init__(self) -> None:
        self.watchers = 0
        self.left = asyncio.Event()
        self.model: Any = None

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        self.watchers += 1
        return self.stop

    def stop(self) -> None:
        self.watchers -= 1
        self.left.set()


async def test_a_page_that_asks_counts_as_looking_for_a_while() -> None:
    source = Watched()
    audience = Audience(source, attention=0.01)
    assert (source.watchers, repr(audience)) == (0, "<Audience is away>")
    audience.asked()
    audience.asked()
    assert (source.watchers, repr(audience)) == (1, "<Audience looks>")
    await asyncio.wait_for(source.left.wait(), 5)
    assert source.watchers == 0
    audience.asked()
    assert source.watchers == 1
    audience.leave()
    audience.leave()
    assert source.watchers == 0
