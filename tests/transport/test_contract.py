"""What every link promises, whatever carries it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import numpy as np
import pytest

from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import AuthenticationError, ConnectionFailedError, UsageError
from myscheduler.protocol import pickling
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.codec import Frame
from myscheduler.protocol.messages import COMPUTE, FREE, GOODBYE, HEARTBEAT, HELLO, PUT_DATA, RESULTS, WELCOME, Role
from myscheduler.transport import Link, connect
from myscheduler.transport.link import LOW_WATER_BYTES
from tests.transport.site import CLIENT, CREDENTIALS, SERVER, Recorder, Site


async def test_both_ends_know_each_other(site: Site) -> None:
    link, _, accepted, _ = await site.connect(Role.CLIENT)
    assert (link.role, link.peer, link.remote) == (Role.SCHEDULER, SERVER, site.listener.address)
    assert (accepted.role, accepted.peer) == (Role.CLIENT, CLIENT)
    assert link.epoch == accepted.epoch == 0
    assert link.local == accepted.remote
    assert repr(link) == f"<link to scheduler {SERVER} at {site.listener.address}>"


async def test_messages_arrive_in_order(site: Site) -> None:
    link, handler, accepted, acceptor = await site.connect()
    for i in range(1000):
        link.send((HEARTBEAT, {"n": i}))
        accepted.send((FREE, (("x", i),)))
    await acceptor.received(500)
    for i in range(1000, 1100):
        link.send((HEARTBEAT, {"n": i}))
    assert [m[1]["n"] for m in await acceptor.received(1100)] == list(range(1100))
    assert [m[1][0][1] for m in await handler.received(1000)] == list(range(1000))


async def test_what_is_sent_in_one_turn_arrives_as_one_frame(site: Site) -> None:
    link, _, _, acceptor = await site.connect()
    for i in range(10):
        link.send((HEARTBEAT, {"n": i}))
    await acceptor.received(10)
    assert len(acceptor.frames) == 1
    assert acceptor.frames[0][:3] == (0, CLIENT, 0)


async def test_what_is_queued_leaves_when_it_is_flushed(site: Site) -> None:
    link, _, _, acceptor = await site.connect()
    for i in range(10):
        link.queue((HEARTBEAT, {"n": i}))
    link.flush()
    assert [m[1]["n"] for m in await acceptor.received(10)] == list(range(10))
    assert len(acceptor.frames) == 1


async def test_nothing_is_delivered_from_inside_send(site: Site) -> None:
    link, _, _, acceptor = await site.connect()
    link.send((HEARTBEAT, {}))
    assert acceptor.messages == []
    await acceptor.received(1)


@pytest.mark.parametrize("nbytes", [20_000, 300_000, 30_000_000])
async def test_blobs_arrive_whole(site: Site, nbytes: int) -> None:
    array = np.random.default_rng(0).integers(0, 255, nbytes, "u1")
    link, _, _, acceptor = await site.connect(Role.CLIENT, address=await worker_site(site))
    link.send((PUT_DATA, 1, (("x", 0, pickling.dumps(array)), ("y", 0, b"small"))))
    message = (await acceptor_of(site, 1).received(1))[0]
    received = pickling.loads(message[2][0][2])
    np.testing.assert_array_equal(received, array)
    assert received.flags.writeable
    assert message[2][1][2] == b"small"
    assert acceptor is acceptor_of(site, 1)


async def worker_site(site: Site) -> str:
    """Only workers take data, so become one."""
    site.listener.close()
    await site.open(own_role=Role.WORKER)
    return site.listener.address


def acceptor_of(site: Site, number: int) -> Recorder:
    return site.handlers[number - 1]


async def test_drain_waits_for_the_peer(site: Site) -> None:
    await worker_site(site)
    link, _, _, acceptor = await site.connect(Role.CLIENT)
    blob = Blob((bytes(LOW_WATER_BYTES), bytes(2 * LOW_WATER_BYTES)))
    for i in range(20):
        link.send((PUT_DATA, i, (("x", 0, blob),)))
    before = link.pending
    async with asyncio.timeout(30):
        await link.drain()
    assert link.pending < LOW_WATER_BYTES
    assert before >= 20
    await acceptor.received(20)


async def test_drain_ends_when_the_link_does(tcp: Site) -> None:
    link, _, accepted, acceptor = await tcp.connect(Role.WORKER)
    acceptor.on_frame = lambda *_: accepted.abort("enough")
    blob = Blob((bytes(50_000_000),))
    link.send((HEARTBEAT, {}))
    await acceptor.closed()
    link.send((RESULTS, (("x", 1, 1, "t", blob, 1, 0.0, 0.0),)))
    async with asyncio.timeout(10):
        await link.drain()
    assert link.closed


async def test_closing_sends_what_was_queued_first(site: Site) -> None:
    link, handler, accepted, acceptor = await site.connect()
    link.send((HEARTBEAT, {"last": True}))
    link.send((GOODBYE, "done"))
    link.close("I am done")
    assert link.closed
    assert handler.reasons == []
    link.send((HEARTBEAT, {"too": "late"}))
    assert await acceptor.closed() == "the peer closed the connection"
    assert [m[0] for m in acceptor.messages] == [HEARTBEAT, GOODBYE]
    assert await handler.closed() == "I am done"
    assert accepted.closed
    accepted.close("again")
    link.close("again")
    await link.wait_closed()
    await accepted.wait_closed()
    assert handler.reasons == ["I am done"]
    assert len(acceptor.reasons) == 1


async def test_the_last_word_survives_unread_messages(site: Site) -> None:
    """Closing a socket that holds unread bytes would destroy what the peer has not read yet."""
    link, handler, _, acceptor = await site.connect()

    def refuse(link: Link, frame: Frame) -> None:
        link.send((GOODBYE, "refused"))
        link.close("refused")

    acceptor.on_frame = refuse
    for _ in range(200):
        link.send((HEARTBEAT, {"x": "y" * 10_000}))
    await handler.closed()
    assert handler.messages == [(GOODBYE, "refused")]


async def test_nothing_is_delivered_after_closing(site: Site) -> None:
    link, handler, accepted, _ = await site.connect()
    accepted.send((FREE, (("x", 1),)))
    link.close("enough")
    await handler.closed()
    await link.wait_closed()
    assert handler.messages == []


async def test_an_invalid_message_closes_the_link(site: Site) -> None:
    link, handler, _, acceptor = await site.connect(Role.WORKER)
    link.send((HEARTBEAT, {}))
    link.send((COMPUTE, (), ()))
    assert await acceptor.closed() == f"worker {CLIENT} broke the protocol: a worker may not send COMPUTE"
    assert acceptor.messages == []
    assert await handler.closed() == "the peer closed the connection"


async def test_stale_epochs_are_dropped_and_counted(site: Site) -> None:
    link, handler, accepted, acceptor = await site.connect()
    link.send((HELLO, {}))
    await acceptor.received(1)
    accepted.epoch = 7
    accepted.send((WELCOME, {"epoch": 7}))
    await handler.received(1)
    link.send((HEARTBEAT, {"from": "nowhere"}))  # epoch 0: not known yet, let in
    await acceptor.received(2)
    link.epoch = 6
    link.send((HEARTBEAT, {"from": "the past"}))
    while not accepted.stale:
        await asyncio.sleep(0)
    link.epoch = 7
    link.send((HEARTBEAT, {"from": "the present"}))
    await acceptor.received(3)
    assert [m[1].get("from") for m in acceptor.messages] == [None, "nowhere", "the present"]
    assert accepted.stale == 1


async def test_frames_of_another_sender_are_dropped_and_counted(site: Site) -> None:
    link, _, accepted, acceptor = await site.connect()
    link._own = "f" * 16
    link.send((HEARTBEAT, {}))
    while not accepted.stale:
        await asyncio.sleep(0)
    assert acceptor.messages == []


async def test_a_missing_frame_closes_the_link(site: Site) -> None:
    link, _, _, acceptor = await site.connect()
    link._sequence_out = 3  # type: ignore[attr-defined]
    link.send((HEARTBEAT, {}))
    assert await acceptor.closed() == f"worker {CLIENT} broke the protocol: frame 3 came where 0 was due"


async def test_a_failing_handler_closes_its_link(site: Site) -> None:
    def fail(link: Link, frame: Frame) -> None:
        raise ZeroDivisionError("oops")

    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))
    link, handler, _, acceptor = await site.connect()
    acceptor.on_frame = fail
    link.send((HEARTBEAT, {}))
    assert await acceptor.closed() == "internal error while handling messages: ZeroDivisionError: oops"
    assert await handler.closed() == "the peer closed the connection"
    assert [str(problem) for problem in problems] == ["oops"]


@pytest.mark.parametrize("secret", [b"x" * 32, None])
async def test_a_wrong_credential_opens_nothing(site: Site, secret: bytes | None) -> None:
    credentials = secret and Credentials(CREDENTIALS.cluster, {"worker": secret}, CREDENTIALS.certificates)
    with pytest.raises(AuthenticationError, match="does not let us in as worker|credentials"):
        await site.connect(credentials=credentials)
    assert site.accepted == []
    assert site.listener.refused == (secret is not None)


async def test_the_wrong_cluster_is_named(site: Site) -> None:
    plain = f"belongs to cluster {'ab' * 16}, our credentials are for cluster {'cd' * 16}"
    encrypted = f"it belongs to another cluster than {'cd' * 16}, or"
    with pytest.raises(AuthenticationError, match=encrypted if site.address.startswith("tls:") else plain):
        await site.connect(credentials=Credentials("cd" * 16, CREDENTIALS.secrets).certified())
    assert site.accepted == []


async def test_incarnations_are_checked(site: Site) -> None:
    with pytest.raises(UsageError, match="an incarnation is 16 hexadecimal digits"):
        await site.connect(incarnation="w1")


async def test_a_closed_listener_lets_nobody_in(site: Site) -> None:
    link, _, _, acceptor = await site.connect()
    site.listener.close()
    with pytest.raises(ConnectionFailedError, match=r"cannot reach .* within 0\.05 s"):
        await connect(
            site.listener.address,
            credentials=CREDENTIALS,
            role=Role.CLIENT,
            incarnation=CLIENT,
            handler=Recorder(),
            timeout=0.05,
        )
    link.send((HEARTBEAT, {}))
    await acceptor.received(1)  # the link stays


async def test_connecting_waits_for_the_listener(site: Site) -> None:
    address = site.listener.address
    site.listener.close()
    connecting = asyncio.create_task(site.connect())
    await asyncio.sleep(0)
    site.address = address
    await site.open()
    async with asyncio.timeout(5):
        link, *_ = await connecting
    assert link.role is Role.SCHEDULER


async def test_messages_may_be_answered_from_the_handler(site: Site) -> None:
    link, handler, accepted, acceptor = await site.connect()
    acceptor.on_frame = lambda link, frame: link.send((FREE, (("x", len(acceptor.messages)),)))
    handler.on_frame = lambda link, frame: link.send((HEARTBEAT, {})) if len(handler.messages) < 20 else None
    link.send((HEARTBEAT, {}))
    assert [m[1][0][1] for m in await handler.received(20)] == list(range(1, 21))
    assert accepted.last_read > 0


async def test_links_leave_nothing_behind(site: Site) -> None:
    link, _, accepted, _ = await site.connect()
    await site.close()
    assert link.closed
    assert accepted.closed
    gc.collect()  # an open socket would be a ResourceWarning, which is an error here
