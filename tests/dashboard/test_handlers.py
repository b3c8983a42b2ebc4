"""Who counts as looking."""

from __future__ import annotations

import asyncio

from myscheduler.dashboard.handlers import Audience
from tests.dashboard.demo import DemoSource


async def test_a_page_that_asks_counts_as_looking_for_a_while() -> None:
    source = DemoSource()
    audience = Audience(source, attention=0.05)
    assert (source.watchers, repr(audience)) == (0, "<Audience is away>")
    audience.asked()
    audience.asked()
    assert (source.watchers, repr(audience)) == (1, "<Audience looks>")
    async with asyncio.timeout(5):
        while source.watchers:
            await asyncio.sleep(0.005)
    audience.asked()
    assert source.watchers == 1
    audience.leave()
    audience.leave()
    assert source.watchers == 0
