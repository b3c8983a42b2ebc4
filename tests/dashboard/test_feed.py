"""The link to the scheduler: what is asked when, and what happens when it goes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import ClosedError, ClusterError, ConnectionFailedError
from myscheduler.base.ids import IdSource
from myscheduler.dashboard import feed as module
from myscheduler.dashboard.feed import Feed, RefusedError
from myscheduler.dashboard.model import Model
from myscheduler.protocol import messages as m
from myscheduler.protocol.codec import Frame
from myscheduler.scheduler.server.scheduler import SchedulerServer
from myscheduler.transport import Link, Listener, listen

T = 1_700_000_000.0
NUMBERS = itertools.count(1)


class FakeScheduler:
    """Answers as told, and writes down what it was asked."""

    def __init__(self) -> None:
        self.name = f"inproc://dashboard-{next(NUMBERS)}"
        self.log: list[Any] = []
        self.links: list[Link] = []
        self.asked: list[Any] = []
        self.epoch = 1
        self.refuse: tuple[str, str] | None = None
        self.answer: Callable[[], tuple[bool, Any]] = lambda: (
            True,
            {"clients": 1, "address": "tcp://s", "workers": ()},
        )
        self.listener: Listener | None = None

    async def start(self) -> None:
        self.listener = await listen(
            self.name,
            credentials=None,
            incarnation=IdSource().incarnation(),
            own_role=m.Role.SCHEDULER,
            accept=self._accept,
        )

    def _accept(self, link: Link) -> FakeScheduler:
        self.links.append(link)
        return self

    def on_messages(self, link: Link, frame: Frame) -> None:
        for message in frame.messages:
            self.log.append(m.SPECS[message[0]].name)
            if message[0] == m.CALL:
                self.asked.append(message[2:])
            if message[0] == m.HELLO and self.refuse is not None:
                link.send((m.REFUSED, *self.refuse))
            elif message[0] == m.HELLO:
                link.epoch = self.epoch
                link.send((m.WELCOME, {"epoch": self.epoch}))
            elif message[0] == m.CALL:
                link.send((m.REPLY, message[1], *self.answer()))

    def on_closed(self, link: Link, reason: str) -> None:
        self.log.append("closed")


@asynccontextmanager
async def followed(**options: Any) -> AsyncIterator[tuple[FakeScheduler, Feed, asyncio.Task[str]]]:
    scheduler = FakeScheduler()
    await scheduler.start()
    feed = Feed(scheduler.name, None, Model("c"), **options)
    running = asyncio.create_task(feed.run())
    try:
        yield scheduler, feed, running
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert scheduler.listener is not None
        scheduler.listener.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def connected(feed: Feed) -> None:
    await until(lambda: feed.model.connection == "connected")


async def test_nothing_is_asked_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.001)
    async with followed() as (scheduler, feed, _):
        await connected(feed)
        for _ in range(20):
            await asyncio.sleep(0)
        assert scheduler.log == ["HELLO"]


async def test_a_page_starts_the_stream_and_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.01)
    async with followed() as (scheduler, feed, _):
        await connected(feed)
        updates: list[int] = []
        stop = feed.watch(lambda: updates.append(1))
        await until(lambda: scheduler.log.count("CALL") >= 3)
        assert scheduler.log[:3] == ["HELLO", "OBSERVE", "CALL"]
        assert scheduler.log.count("OBSERVE") == 1
        scheduler.links[0].send((m.EVENTS, (("inc-1", "w", 0, T, 0.5, True),)))
        await until(lambda: feed.model.stream.all())
        assert feed.model.address == "tcp://s"
        assert len(updates) >= 3
        stop()
        stop()


async def test_the_stream_ends_a_while_after_the_last_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.01)
    async with followed(linger=0.05) as (scheduler, feed, _):
        await connected(feed)
        stop = feed.watch(lambda: None)
        await until(lambda: "CALL" in scheduler.log)
        stop()
        await until(lambda: "closed" in scheduler.log and scheduler.log[-1] == "HELLO")
        assert len(scheduler.links) == 2
        assert feed.model.connection == "connected"


async def test_refresh_asks_once_and_only_when_it_is_worth_it() -> None:
    async with followed() as (scheduler, feed, _):
        await asyncio.gather(feed.refresh(), feed.refresh())
        await feed.refresh()
        assert scheduler.log.count("CALL") == 1
        assert feed.model.clients == 1


async def test_a_failed_question_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.01)
    async with followed() as (scheduler, feed, running):
        scheduler.answer = lambda: (False, ("internal", "no"))
        feed.watch(lambda: None)
        await until(lambda: scheduler.log.count("CALL") >= 2)
        assert not running.done()
        assert feed.model.clients == 0


async def test_pages_may_ask_more() -> None:
    async with followed() as (scheduler, feed, _):
        scheduler.answer = lambda: (True, {"status": "memory"})
        assert await feed.ask("task", ("x", 0)) == {"status": "memory"}
        assert scheduler.asked == [("task", (("x", 0),))]
        scheduler.answer = lambda: (False, ("role", "an observer may not"))
        with pytest.raises(ClusterError, match="an observer may not"):
            await feed.ask("shutdown")


async def test_questions_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with followed() as (scheduler, feed, _):
        await connected(feed)
        monkeypatch.setattr(FakeScheduler, "on_messages", lambda self, link, frame: self.asked.extend(frame.messages))
        asking = [asyncio.create_task(feed.ask("task", key)) for key in range(10)]
        await until(lambda: len(scheduler.asked) == module.QUESTIONS_MAX)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(scheduler.asked) == module.QUESTIONS_MAX
        for _ in range(10):
            await until(lambda: scheduler.asked)
            scheduler.links[0].send((m.REPLY, scheduler.asked.pop(0)[1], True, "well"))
        assert await asyncio.gather(*asking) == ["well"] * 10


async def test_questions_without_a_scheduler_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with followed() as (scheduler, feed, running):
        await connected(feed)
        scheduler.links[0].send((m.GOODBYE, "the cluster was closed"))
        scheduler.links[0].close()
        await asyncio.wait_for(running, 5)
        with pytest.raises(ClosedError, match="the cluster was closed"):
            await feed.ask("task", "x")


async def test_goodbye_ends_the_feed_with_its_reason() -> None:
    async with followed() as (scheduler, feed, running):
        await connected(feed)
        scheduler.links[0].send((m.GOODBYE, "the cluster was closed"))
        scheduler.links[0].close()
        assert await asyncio.wait_for(running, 5) == "the cluster was closed"
        assert (feed.model.connection, feed.model.connection_text) == ("lost", "the cluster was closed")


async def test_a_lost_link_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    async with followed() as (scheduler, feed, _):
        await connected(feed)
        feed.model.set_overview(T, {"clients": 3})
        scheduler.links[0].close("a cut")
        await until(lambda: feed.model.connection == "lost")
        assert "Trying to reach it again" in feed.model.connection_text
        await connected(feed)
        assert feed.model.clients == 3, "the same scheduler: nothing is forgotten"


async def test_another_scheduler_starts_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    async with followed() as (scheduler, feed, _):
        await connected(feed)
        feed.model.set_overview(T, {"clients": 3})
        scheduler.epoch = 2
        scheduler.links[0].close("restarted")
        await until(lambda: len(scheduler.links) == 2 and feed.model.connection == "connected")
        assert (feed.model.clients, feed.model.epoch) == (0, 2)


async def test_a_scheduler_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    async with followed(reconnect=0.2) as (scheduler, feed, running):
        await connected(feed)
        assert scheduler.listener is not None
        scheduler.listener.close()
        scheduler.links[0].close("gone")
        with pytest.raises(ConnectionFailedError):
            await asyncio.wait_for(running, 5)
        assert feed.model.connection == "lost"


async def test_a_refusal_is_final() -> None:
    scheduler = FakeScheduler()
    scheduler.refuse = ("version", "use the same versions everywhere")
    await scheduler.start()
    with pytest.raises(RefusedError, match="use the same versions everywhere"):
        await asyncio.wait_for(Feed(scheduler.name, None, Model()).run(), 5)
    assert scheduler.listener is not None
    scheduler.listener.close()


async def test_it_follows_the_real_scheduler() -> None:
    credentials = Credentials.generate()
    server = SchedulerServer(credentials, port=0)
    await server.start()
    feed = Feed(server.address, credentials.restricted("observer"), Model("c"))
    running = asyncio.create_task(feed.run())
    updates: list[int] = []
    feed.watch(lambda: updates.append(feed.model.samples))
    await until(lambda: feed.model.samples)
    assert feed.model.address == server.address
    await server.close("that was all")
    assert await asyncio.wait_for(running, 5) == "that was all"
