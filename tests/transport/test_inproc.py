from __future__ import annotations

import asyncio

import pytest

from myscheduler.base.errors import ConnectionFailedError, UsageError
from myscheduler.protocol.messages import HEARTBEAT, Role
from myscheduler.transport import connect, listen
from tests.transport.site import CLIENT, CREDENTIALS, SERVER, Recorder, Site


async def test_messages_are_handed_over_as_they_are() -> None:
    site = Site("inproc")
    await site.open()
    link, _, _, acceptor = await site.connect()
    message = (HEARTBEAT, {"metrics": {}})
    link.send(message)
    assert (await acceptor.received(1))[0] is message
    await site.close()


async def test_names_are_made_up_or_taken() -> None:
    first, second, third = Site("inproc"), Site("inproc"), Site("inproc")
    await first.open()
    await second.open()
    assert first.listener.address != second.listener.address
    third.address = first.listener.address
    with pytest.raises(UsageError, match="is taken by another listener"):
        await third.open()
    first.listener.close()
    await third.open()
    for site in (first, second, third):
        await site.close()


async def test_without_credentials_on_either_side_nothing_is_proved() -> None:
    site = Site("inproc")
    await site.open(credentials=None)
    link, *_ = await site.connect(Role.OBSERVER, credentials=None)
    assert link.peer == SERVER
    await site.close()


async def test_other_loops_are_refused() -> None:
    site = Site("inproc")
    await site.open()

    def elsewhere() -> None:
        async def try_it() -> None:
            await connect(
                site.listener.address,
                credentials=CREDENTIALS,
                role=Role.CLIENT,
                incarnation=CLIENT,
                handler=Recorder(),
            )

        asyncio.run(try_it())

    with pytest.raises(UsageError, match="belongs to another event loop; use tcp:// between threads"):
        await asyncio.to_thread(elsewhere)
    await site.close()


async def test_unknown_names_are_named() -> None:
    with pytest.raises(ConnectionFailedError, match="nobody in this process listens under that name"):
        await connect(
            "inproc://nobody",
            credentials=None,
            role=Role.CLIENT,
            incarnation=CLIENT,
            handler=Recorder(),
            timeout=0,
        )


async def test_a_socket_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="takes no socket"):
        await listen(
            "inproc://x",
            credentials=None,
            incarnation=SERVER,
            own_role=Role.WORKER,
            accept=lambda link: Recorder(),
            sock=object(),  # type: ignore[arg-type]
        )
