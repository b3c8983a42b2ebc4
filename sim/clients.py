"""A simulated client: the real machine, graphs of known value, and a user who compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.keys import Key
from ..base.limits import ROWS_PER_MESSAGE_MAX
from ..client.machine import ClientMachine
from ..client.outbox import DEFAULT_OPTION
from ..client.records import ERROR, FINISHED, PENDING, Record
from ..protocol.messages import Message, Role
from .graphs import SimTask, evaluate
from .world import Wire

if TYPE_CHECKING:
    from .run import Simulation

_FUNC_ID = b"simulated task  "


class SimClient:
    """One client that submits graphs and checks what comes back."""

    def __init__(self, simulation: Simulation, incarnation: str) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.incarnation = incarnation
        self.machine = ClientMachine()
        self.records: dict[Key, Record] = {}
        self.expected: dict[Key, int | None] = {}
        self.values: dict[Key, int] = {}
        self._fetching: dict[Key, None] = {}
        self.to_scheduler = Wire(self.world, Role.CLIENT, incarnation, simulation.scheduler.receiver(incarnation))
        self.from_scheduler = Wire(self.world, Role.SCHEDULER, "0" * 16, self._on_messages)

    def start(self, info: dict[str, Any]) -> None:
        """Say HELLO."""
        self.machine.hello("hello", info)
        self.machine.take_outbox()  # the simulated scheduler is told by PeerJoined, as its shell would do

    def submit(self, graph: dict[Key, SimTask], wanted: list[Key]) -> None:
        """Submit a graph in slices of random size; futures of the wanted keys only."""
        self.expected.update({key: value for key, value in evaluate(graph).items() if key in wanted})
        rows = [(key, _FUNC_ID, task.payload(), task.deps, order, 0) for order, (key, task) in enumerate(graph.items())]
        request = self.machine.new_request()
        functions = ((_FUNC_ID, b"code"),)
        size = self.world.random.choice((5, 50, ROWS_PER_MESSAGE_MAX))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            wants = tuple(index for index, row in enumerate(part) if row[0] in wanted)
            more = start + size < len(rows)
            for record in self.machine.submit_slice(request, functions, (DEFAULT_OPTION,), part, wants, more):
                self.records[record.key] = record
        self.flush()

    def release_all(self) -> None:
        """Let go of all futures."""
        self.machine.release(self.records.values())
        self.records.clear()
        self.flush()

    def flush(self) -> None:
        """Send what the machine has queued."""
        self.to_scheduler.send(self.machine.take_outbox())
        if self.simulation.options.check:
            self.machine.check()

    def _on_messages(self, messages: tuple[Message, ...]) -> None:
        effects = self.machine.handle(messages)
        for answer in effects.answers:
            if answer.token == "fetch" and answer.ok:
                rows, missing = answer.value
                for key, payload in rows:
                    self._fetching.pop(key, None)
                    self.values[key] = int(payload)
                for key, _ in missing:
                    self._fetching.pop(key, None)
        for key, record in self.records.items():
            if record.state == FINISHED and key not in self.values and key not in self._fetching:
                payload = record.result.payload
                if payload is not None:
                    self.values[key] = int(payload)  # type: ignore[arg-type]
                else:
                    self._fetching[key] = None
                    self.machine.fetch("fetch", (key,))
        self.flush()

    def open_keys(self) -> list[Key]:
        """Keys whose outcome, or value, is not here yet."""
        return [
            key
            for key, record in self.records.items()
            if record.state == PENDING or (record.state == FINISHED and key not in self.values)
        ]

    def wrong_keys(self) -> list[tuple[Key, str]]:
        """Keys whose outcome is not what a sequential evaluation gives."""
        wrong: list[tuple[Key, str]] = []
        for key, record in self.records.items():
            expected = self.expected[key]
            state = ERROR if expected is None else FINISHED
            if record.state != state:
                wrong.append((key, f"is {record.state}, not {state}"))
            elif expected is not None and self.values[key] != expected:
                wrong.append((key, f"has the value {self.values[key]}, not {expected}"))
        return wrong
