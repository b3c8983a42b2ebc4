"""How long the client waits for a worker, and what it tells it of pipes. The rest is tested by gathering and scattering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import ConnectionFailedError
from myscheduler.base.limits import MIB
from myscheduler.client.api import datalinks
from myscheduler.client.api.datalinks import DataLinks
from myscheduler.protocol import messages as m
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.pickling import dumps
from myscheduler.protocol.shared import PipedBlob
from myscheduler.transport import Link, Listener, listen
from myscheduler.transport.shared import fetch_rows


class FakeWorker:
    """Stores what it is told to, and of what is in pipes only the keys in ``readable``."""

    def __init__(self, readable: str) -> None:
        self.readable = readable
        self.credentials = Credentials.generate()
        self.ops: list[int] = []
        self.kinds: list[type] = []
        self.stored: dict[Any, Blob] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.listener: Listener

    def accept(self, link: Link) -> FakeWorker:
        return self

    def on_messages(self, link: Link, frame: Any) -> None:
        for message in frame.messages:
            self.ops.append(message[0])
            self.tasks.append(asyncio.get_running_loop().create_task(self._answer(link, message)))

    async def _answer(self, link: Link, message: Any) -> None:
        rows = message[2]
        self.kinds += [type(payload) for _, _, payload in rows]
        if message[0] == m.PUT_SHARED:
            rows = tuple(row for row in rows if row[0] in self.readable)
        self.stored |= await fetch_rows((key, payload) for key, _, payload in rows)
        link.send((m.STORED, message[1], tuple((key, attempt, 8, "bytes") for key, attempt, _ in rows)))

    def on_closed(self, link: Link, reason: str) -> None:
        """Nothing to do."""


@pytest.fixture
async def worker(request: pytest.FixtureRequest) -> AsyncIterator[FakeWorker]:
    made = FakeWorker(request.param)
    made.listener = await listen(
        "tcp://127.0.0.1:0",
        credentials=made.credentials,
        incarnation="b" * 16,
        own_role=m.Role.WORKER,
        accept=made.accept,
    )
    yield made
    made.listener.close()
    await asyncio.gather(*made.tasks)


@pytest.fixture
async def links(worker: FakeWorker) -> AsyncIterator[DataLinks]:
    made = DataLinks("c" * 16)
    made.credentials = worker.credentials
    yield made
    made.close("done")


VALUES = {"x": b"x" * 2 * MIB, "y": b"y" * 3 * MIB, "s": b"small"}
ROWS = tuple((key, number, dumps(value)) for number, (key, value) in enumerate(VALUES.items()))


@pytest.mark.parametrize(
    ("worker", "ops"),
    [
        ("xys", [m.PUT_SHARED, m.PUT_SHARED]),
        ("xs", [m.PUT_SHARED, m.PUT_DATA, m.PUT_DATA]),
        ("", [m.PUT_SHARED, m.PUT_DATA, m.PUT_DATA]),
    ],
    indirect=["worker"],
)
async def test_what_a_worker_does_not_read_is_sent(worker: FakeWorker, links: DataLinks, ops: list[int]) -> None:
    for _ in range(2):
        stored = await links.put(worker.listener.address, ROWS)
        assert sorted(row[:2] for row in stored) == [("s", 2), ("x", 0), ("y", 1)]
    assert worker.ops == ops
    assert PipedBlob in worker.kinds
    assert bytes(worker.stored["y"].buffers[1]) == VALUES["y"]


@pytest.mark.parametrize("worker", ["xys"], indirect=True)
async def test_small_values_are_sent(worker: FakeWorker, links: DataLinks) -> None:
    await links.put(worker.listener.address, ROWS[2:])
    assert worker.ops == [m.PUT_DATA]


@pytest.mark.parametrize("worker", ["xys"], indirect=True)
async def test_nothing_is_named_if_memory_is_not_to_be_shared(
    worker: FakeWorker, links: DataLinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYSCHEDULER__SHARED_MEMORY", "false")
    await links.put(worker.listener.address, ROWS)
    assert worker.ops == [m.PUT_DATA]
    assert PipedBlob not in worker.kinds


class SlowLink:
    """Takes a while to send what was asked of it."""

    def __init__(self, answer: asyncio.Future[Any], steps: int) -> None:
        self.last_read = 0.0
        self.closed_for = ""
        self._answer = answer
        self._steps = steps
        self._sent = 0

    @property
    def bytes_out(self) -> int:
        if self._sent < self._steps:
            self._sent += 1
            if self._sent == self._steps:
                self._answer.set_result("stored")
        return self._sent

    def close(self, reason: str) -> None:
        self.closed_for = reason


async def test_a_worker_that_takes_what_is_sent_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datalinks, "STALLED_S", 0.01)
    links, peer = DataLinks("c" * 16), datalinks._Peer("tcp://127.0.0.1:1")
    for steps in (5, 0):
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        link: Any = SlowLink(answer, steps)
        if steps:
            assert await links._answer(peer, link, answer) == "stored"
            continue
        with pytest.raises(ConnectionFailedError, match="sent nothing for"):
            await links._answer(peer, link, answer)
        assert link.closed_for == "stalled"
