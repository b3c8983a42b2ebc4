"""Long and wide graphs: no recursion, no crawling, nothing left."""

from __future__ import annotations

from collections.abc import Sequence

from myscheduler.protocol import messages as m
from myscheduler.scheduler.events import PeerJoined, Received, Send
from myscheduler.scheduler.machine import SchedulerMachine
from tests.support.scheduler import FUNCTION, PLAIN, VERSIONS

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
