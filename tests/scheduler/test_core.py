"""Long and wide graphs: no recursion, no crawling, nothing left; and when workers hear what they may drop."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.core import FREE_AFTER_S
from myscheduler.scheduler.events import PeerJoined, Received, Send
from myscheduler.scheduler.machine import SchedulerMachine
from tests.support.scheduler import FUNCTION, PLAIN, VERSIONS, Cluster

SIZE = 100_000


def _machine() -> SchedulerMachine:
    machine = SchedulerMachine(1, "00" * 16, "tcp://s", VERSIONS)  # type: ignore[arg-type]
    machine.handle(0.0, [PeerJoined("c", m.Role.CLIENT, {"versions": VERSIONS})])
    return machine


def _submit(machine: SchedulerMachine, rows: Sequence[tuple[object, ...]]) -> None:
    last = len(rows) - 1
    for start in range(0, len(rows), 512):
        part = tuple(rows[start : start + 512])
        more = start + 512 <= last
        wants = () if more else (len(part) - 1,)
        functions = ((FUNCTION, b"code"),)
        machine.handle(0.0, [Received("c", ((m.SUBMIT, 1, functions, (PLAIN,), part, wants, more),))])


def test_a_chain_of_a_hundred_thousand_fails_and_is_forgotten_at_once() -> None:
    machine = _machine()
    rows = [(i, FUNCTION, b"", (i - 1,) if i else (), i, 0) for i in range(SIZE)]
    _submit(machine, rows)
    hello = {"name": "w", "address": "tcp://w", "host": "h", "nthreads": 1, "memory_limit": 0, "resources": {}}
    sent = machine.handle(0.0, [PeerJoined("w", m.Role.WORKER, hello | {"versions": VERSIONS})])
    [row] = [row for send in sent if isinstance(send, Send) for x in send.messages if x[0] == m.COMPUTE for row in x[2]]
    error = (row[0], row[1], b"", "ValueError: no", "", 0, 0.0, 0.0)
    [send] = machine.handle(0.0, [Received("w", ((m.ERRORS, (error,)),))])
    assert isinstance(send, Send)
    assert send.messages == [(m.FAILED, ((SIZE - 1, b"", "ValueError: no", "", 0),))]
    machine.handle(0.0, [Received("c", ((m.RELEASE, (SIZE - 1,)),))])
    assert machine.core.tasks == {}


def test_a_fan_in_of_a_hundred_thousand_is_one_row() -> None:
    machine = _machine()
    rows: list[tuple[object, ...]] = [(i, FUNCTION, b"", (), i, 0) for i in range(SIZE)]
    rows.append(("sum", FUNCTION, b"", tuple(range(SIZE)), SIZE, 0))
    _submit(machine, rows)
    assert machine.core.tasks["sum"].waiting_on == SIZE
    machine.handle(0.0, [Received("c", ((m.RELEASE, ("sum",)),))])
    assert machine.core.tasks == {}


def _held(cluster: Cluster, *keys: str) -> dict[str, int]:
    """Have these made on the one worker; returns their attempts."""
    attempts: dict[str, int] = {}
    for key in keys:
        cluster.submit({key: ()})
        attempts |= (runs := cluster.runs("w0"))
        cluster.finish("w0", runs)
    cluster.take("w0")
    return attempts


def test_a_worker_hears_what_it_may_drop_with_the_next_task() -> None:
    cluster = Cluster(workers=1)
    attempts = _held(cluster, "x", "y")
    cluster.say("c", (m.RELEASE, ("x",)))
    cluster.say("c", (m.RELEASE, ("y",)))
    assert cluster.take("w0") == []
    cluster.submit({"z": ()})
    free, compute = cluster.take("w0")
    assert free == (m.FREE, (("x", attempts["x"]), ("y", attempts["y"])))
    assert compute[0] == m.COMPUTE
    cluster.linger()
    assert cluster.take("w0") == []


def test_a_worker_that_is_told_nothing_else_hears_it_a_little_later() -> None:
    cluster = Cluster(workers=1)
    attempts = _held(cluster, "x")
    cluster.linger()
    cluster.say("c", (m.RELEASE, ("x",)))
    assert cluster.machine.next_deadline() == pytest.approx(cluster.now + FREE_AFTER_S)
    cluster.now += FREE_AFTER_S / 2
    cluster.step()
    assert cluster.take("w0") == []
    cluster.linger()
    assert cluster.take("w0") == [(m.FREE, (("x", attempts["x"]),))]
    assert cluster.core.freeing == {}


def test_a_worker_that_goes_away_before_is_told_by_its_inventory() -> None:
    cluster = Cluster(workers=1)
    attempts = _held(cluster, "x")
    cluster.say("c", (m.RELEASE, ("x",)))
    cluster.cut("w0")
    cluster.linger()
    cluster.come_back("w0", [("x", attempts["x"], 8, "int")])
    assert cluster.rows("w0", m.FREE) == [("x", attempts["x"])]
    cluster.lose("w0")
    assert cluster.core.freeing == {}
