"""Links between workers: what happens when a peer is slow, silent, wrong or idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from myscheduler.base.ids import IdSource
from myscheduler.protocol import messages as m
from myscheduler.protocol import pickling
from myscheduler.protocol.codec import Frame
from myscheduler.transport import Link, listen
from myscheduler.transport.inproc import InprocLink
from myscheduler.worker.events import Event, Fetch, FetchEnded, FetchFailed, FetchStalled
from myscheduler.worker.server import transfers
from myscheduler.worker.server.packing import INLINE_BYTES_MAX, Packer
from myscheduler.worker.server.transfers import Fetcher
from myscheduler.worker.store import Store

TIMEOUT_S = 10.0


class Holder:
    """A peer that answers as it is told to."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.requests: asyncio.Queue[tuple] = asyncio.Queue()
        self.closed: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self) -> str:
        self.listener = await listen(
            "inproc://",
            credentials=None,
            incarnation=IdSource().incarnation(),
            own_role=m.Role.WORKER,
            accept=self._accept,
        )
        return self.listener.address

    def _accept(self, link: Link) -> Holder:
        self.links.append(link)
        return self

    def on_messages(self, link: Link, frame: Frame) -> None:
        for message in frame.messages:
            self.requests.put_nowait(message)

    def on_closed(self, link: Link, reason: str) -> None:
        self.closed.put_nowait(reason)

    async def request(self) -> tuple:
        return await asyncio.wait_for(self.requests.get(), TIMEOUT_S)


class Scene:
    """A fetcher, its store, and what it told the machine."""

    def __init__(self) -> None:
        self.store = Store()
        self.packer = Packer()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.fetcher = Fetcher(self.store, self.packer, self.events.put_nowait, None, IdSource().incarnation())
        self.holder = Holder()
        self.address = ""

    async def event(self) -> Event:
        return await asyncio.wait_for(self.events.get(), TIMEOUT_S)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    made.address = await made.holder.listen()
    yield made
    made.fetcher.close("the test is over")
    made.holder.listener.close()
    made.packer.close()


@pytest.mark.parametrize("nbytes", [1, 2 * INLINE_BYTES_MAX])
async def test_a_fetched_value_is_in_the_store_before_the_machine_hears_of_it(scene: Scene, nbytes: int) -> None:
    value = b"v" * nbytes
    scene.fetcher.start(Fetch(scene.address, 4, (("x", 7), ("y", 8))))
    assert await scene.holder.request() == (m.GET_DATA, 4, (("x", 7), ("y", 8)))
    scene.holder.links[0].send((m.DATA, 4, (("x", pickling.dumps(value)),), (("y", "not held here"),)))
    event = await scene.event()
    assert isinstance(event, FetchEnded)
    assert [row[:2] for row in event.got] == [("x", 7)]
    assert (event.missing, event.failures) == (["y"], [])
    assert scene.store["x"] == value


async def test_values_that_were_not_asked_for_are_ignored(scene: Scene) -> None:
    scene.fetcher.start(Fetch(scene.address, 1, (("x", 7),)))
    await scene.holder.request()
    scene.holder.links[0].send((m.DATA, 1, (("z", pickling.dumps(1)),), ()))
    assert await scene.event() == FetchEnded(scene.address, 1, [], [], [])
    assert len(scene.store) == 0


async def test_links_are_used_again(scene: Scene) -> None:
    for number in (1, 2):
        scene.fetcher.start(Fetch(scene.address, number, (("x", 7),)))
        await scene.holder.request()
        scene.holder.links[0].send((m.DATA, number, (), (("x", "not held here"),)))
        await scene.event()
    assert len(scene.holder.links) == 1


async def test_over_a_new_link_a_peer_is_asked_again_when_the_first_breaks(scene: Scene) -> None:
    scene.fetcher.start(Fetch(scene.address, 1, (("x", 7),)))
    assert await scene.holder.request() == (m.GET_DATA, 1, (("x", 7),))
    scene.holder.links[0].close("broken")
    assert await scene.holder.request() == (m.GET_DATA, 1, (("x", 7),))
    scene.holder.links[1].send((m.DATA, 1, (("x", pickling.dumps(5)),), ()))
    event = await scene.event()
    assert isinstance(event, FetchEnded)
    assert scene.store["x"] == 5


async def test_a_link_that_breaks_again_fails_the_fetch_and_the_next_one_connects_anew(scene: Scene) -> None:
    scene.fetcher.start(Fetch(scene.address, 1, (("x", 7),)))
    for number in range(2):
        await scene.holder.request()
        scene.holder.links[number].close("broken")
    assert await scene.event() == FetchFailed(scene.address, 1)
    scene.fetcher.start(Fetch(scene.address, 2, (("x", 7),)))
    assert (await scene.holder.request())[1] == 2
    assert len(scene.holder.links) == 3


async def test_the_answer_to_another_request_fails_the_fetch(scene: Scene) -> None:
    scene.fetcher.start(Fetch(scene.address, 1, (("x", 7),)))
    await scene.holder.request()
    scene.holder.links[0].send((m.DATA, 99, (), ()))
    assert await scene.event() == FetchFailed(scene.address, 1)


async def test_an_answer_nobody_asked_for_closes_the_link(scene: Scene) -> None:
    scene.fetcher.start(Fetch(scene.address, 1, (("x", 7),)))
    await scene.holder.request()
    scene.holder.links[0].send((m.DATA, 1, (), (("x", "not held here"),)))
    await scene.event()
    scene.holder.links[0].send((m.DATA, 1, (), ()))
    assert await asyncio.wait_for(scene.holder.closed.get(), TIMEOUT_S)


async def test_a_silent_peer_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.fetcher.start(Fetch(scene.address, 1, (("x", 7),)))
    await scene.holder.request()
    scene.fetcher.sweep()
    assert scene.events.empty()
    monkeypatch.setattr(transfers, "SLOW_S", 0.0)
    scene.fetcher.sweep()
    scene.fetcher.sweep()
    assert await scene.event() == FetchStalled(scene.address, 1)
    assert scene.events.empty()
    monkeypatch.setattr(transfers, "STALLED_S", -1.0)
    scene.fetcher.sweep()
    assert await scene.event() == FetchFailed(scene.address, 1)


async def test_a_peer_whose_machine_is_silent_is_given_up_before_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.fetcher.start(Fetch(scene.address, 1, (("x", 7),)))
    await scene.holder.request()
    monkeypatch.setattr(transfers, "SLOW_S", 0.0)
    monkeypatch.setattr(InprocLink, "machine_silence", lambda link: 9.0)
    scene.fetcher.sweep()
    assert await scene.event() == FetchStalled(scene.address, 1)
    assert await scene.event() == FetchFailed(scene.address, 1)


async def test_a_peer_that_is_slow_to_introduce_itself_is_said_to_be(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(*args: object, **options: object) -> Link:
        dialled.set_result(None)
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    monkeypatch.setattr(transfers, "connect", connect)
    scene.fetcher.start(Fetch(scene.address, 1, (("x", 7),)))
    await asyncio.wait_for(dialled, TIMEOUT_S)
    scene.fetcher.sweep()
    assert scene.events.empty()
    monkeypatch.setattr(transfers, "SLOW_S", -1.0)
    scene.fetcher.sweep()
    assert await scene.event() == FetchStalled(scene.address, 1)


async def test_an_idle_link_is_closed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.fetcher.start(Fetch(scene.address, 1, (("x", 7),)))
    await scene.holder.request()
    scene.holder.links[0].send((m.DATA, 1, (), (("x", "not held here"),)))
    await scene.event()
    scene.fetcher.sweep()
    assert scene.holder.closed.empty()
    monkeypatch.setattr(transfers, "IDLE_S", -1.0)
    scene.fetcher.sweep()
    assert await asyncio.wait_for(scene.holder.closed.get(), TIMEOUT_S)


async def test_an_address_that_is_none_fails_the_fetch(scene: Scene) -> None:
    scene.fetcher.start(Fetch("gopher://hole", 1, (("x", 7),)))
    assert await scene.event() == FetchFailed("gopher://hole", 1)
