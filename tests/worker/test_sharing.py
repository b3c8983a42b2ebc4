"""What a worker offers others of its host: first a pipe, then a segment."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from myscheduler.protocol import pickling
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.shared import SHARED_BYTES_MIN, PipedBlob, SharedBlob
from myscheduler.transport.shared import fetch_rows, place
from myscheduler.worker.server.packing import Packer
from myscheduler.worker.server.sharing import Sharing
from myscheduler.worker.store import Store

VALUE = b"v" * (2 * SHARED_BYTES_MIN)


@pytest.fixture
async def packer() -> AsyncIterator[Packer]:
    made = Packer(Sharing(2**26))
    yield made
    made.close()


@pytest.fixture
def store() -> Store:
    made = Store()
    made.put("x", 1, VALUE, len(VALUE))
    made.put("small", 2, 5, 28)
    return made


async def ask(packer: Packer, store: Store, key: str = "x", where: str | None = None) -> object:
    packed = await packer.pack(store, [(key, 0)], place() if where is None else where)
    assert packed.missing == ()
    ((found, payload),) = packed.rows
    assert found == key
    return payload


async def test_the_first_gets_a_pipe_the_others_one_segment(packer: Packer, store: Store) -> None:
    answers = [await ask(packer, store) for _ in range(4)]
    assert list(map(type, answers)) == [PipedBlob, SharedBlob, SharedBlob, SharedBlob]
    assert answers[1] == answers[2] == answers[3]
    for _, payload in await fetch_rows([("x", answer) for answer in answers]):
        assert pickling.loads(payload) == VALUE
    assert 0 < packer.shared_bytes < 1.2 * len(VALUE)


async def test_who_is_elsewhere_is_sent_all(packer: Packer, store: Store) -> None:
    for where in ("", "another boot/4026531836/0"):
        assert isinstance(await ask(packer, store, where=where), Blob)
    assert isinstance(await ask(Packer(), store), Blob)


async def test_small_values_are_sent(packer: Packer, store: Store) -> None:
    for _ in range(2):
        assert await ask(packer, store, "small") == pickling.dumps(5)
    assert packer.shared_bytes == 0


async def test_all_is_forgotten_with_the_value(packer: Packer, store: Store) -> None:
    first, second = [await ask(packer, store) for _ in range(2)]
    store.drop([("x", 1)])
    packer.forget([("x", 1), ("small", 2)])
    store.put("x", 3, VALUE, len(VALUE))
    third = await ask(packer, store)
    assert (type(first), type(second), type(third)) == (PipedBlob, SharedBlob, PipedBlob)


async def test_a_value_that_was_replaced_is_forgotten_in_time(packer: Packer, store: Store) -> None:
    await ask(packer, store)
    store.put("x", 3, VALUE, len(VALUE))
    store.drop([("x", 1)])
    packer.sweep(store)
    assert packer.sharing is not None
    assert not packer.sharing.was_offered(("x", 1))
    assert not packer.sharing.was_offered(("x", 3))


async def test_without_room_it_is_piped_to_everybody(store: Store) -> None:
    packer = Packer(Sharing(1000))
    assert [type(await ask(packer, store)) for _ in range(3)] == [PipedBlob] * 3
    packer.close()
