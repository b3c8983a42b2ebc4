"""A simulated client: the real machine, graphs of known value, and a user who compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..base.backoff import ATTEMPT_S
from ..base.keys import Key
from ..base.limits import ROWS_PER_MESSAGE_MAX
from ..client.comeback import Comeback
from ..client.effects import Answer
from ..client.machine import ClientMachine
from ..client.outbox import DEFAULT_OPTION, Option
from ..client.records import CANCELLED, ERROR, FINISHED, LOST, PENDING, Record
from ..protocol import messages as m
from ..protocol.messages import Message, Role
from ..protocol.stream import ACK_AFTER_S
from .graphs import Expected, SimTask, evaluate
from .links import End
from .scheduler import EPOCH, INCARNATION, VERSIONS
from .world import Process

if TYPE_CHECKING:
    from .run import Simulation

FUNC_ID: Final = b"simulated task  "


class SimClient(Process):
    """One client that submits graphs, changes its mind, and checks what comes back.

    Parameters
    ----------
    simulation : Simulation
        The cluster it uses.
    incarnation : str
        16 hexadecimal digits.
    """

    def __init__(self, simulation: Simulation, incarnation: str) -> None:
        super().__init__(simulation.world)
        self.simulation = simulation
        self.incarnation = incarnation
        self.machine = ClientMachine()
        self.graph: dict[Key, SimTask] = {}
        self.wanted: dict[Key, None] = {}
        self.submitted = False
        #: until there is no way back to the scheduler
        self.connected = True
        #: the scheduler does not expect it back
        self.given_up = False
        self.records: dict[Key, Record] = {}
        self.values: dict[Record, int] = {}
        #: finished, but the value was lost before it was fetched, and could not be made again for a reason that excuses it
        self.unavailable: dict[Record, None] = {}
        self.expected: dict[Key, Expected] = {}
        #: keys whose futures may be cancelled by now: somebody has asked for it
        self.may_be_cancelled: dict[Key, None] = {}
        self._states: dict[Record, str] = {}
        self._retried: dict[Record, None] = {}
        self._fetching: dict[Key, None] = {}
        self._awaited: dict[int, str] = {}
        self._calls = 0
        self._comeback = Comeback()
        self._ack_planned = False
        self.link = self._make_link()

    def _make_link(self) -> End:
        link = End(self, self.incarnation, INCARNATION, Role.SCHEDULER)
        link.on_messages = self._on_messages
        link.on_closed = lambda reason: self._on_closed(link, reason)
        return link

    def start(self) -> None:
        """Dial the scheduler and say HELLO."""
        self.simulation.scheduler.accept(self.link, Role.CLIENT)
        self.machine.hello("hello", {"versions": VERSIONS})
        self.flush()

    def die(self) -> None:
        """Stop at once."""
        self.alive = False
        self.connected = False
        self.link.abort("dead")

    # ---- what its user does -----------------------------------------------------------------------------------------

    def submit(self) -> None:
        """Submit the graph in slices of random size; futures of the wanted keys only."""
        if not self.connected:
            return
        self.submitted = False
        graph = self.graph
        self.expected.update(evaluate(graph))
        options: dict[Option, int] = {}
        rows: list[m.Row] = []
        for order, (key, task) in enumerate(graph.items()):
            resources = (("gpu", float(task.gpus)),) if task.gpus else None
            wishes: Any = (task.priority, task.retries, *DEFAULT_OPTION[2:4], resources, *DEFAULT_OPTION[5:])
            option = options.setdefault(wishes, len(options))
            rows.append((key, FUNC_ID, task.payload(), task.inputs, order, option))
        size = self.world.random.choice((5, 50, ROWS_PER_MESSAGE_MAX))
        slices = [rows[start : start + size] for start in range(0, len(rows), size)]
        self._submit_slices(self.machine.new_request(), tuple(options), slices)

    def _submit_slices(self, request: int, options: tuple[Option, ...], slices: list[list[m.Row]]) -> None:
        """The next slice now, the others a little later, or at once."""
        if not self.connected:
            return
        part, *rest = slices
        wants = tuple(index for index, row in enumerate(part) if row[0] in self.wanted)
        self._adopt(self.machine.submit_slice(request, ((FUNC_ID, b"code"),), options, part, wants, bool(rest)))
        self.flush()
        if rest:
            pause = self.world.random.choice((0.0, 0.0, 0.02))
            self.simulation.disturbed_for(pause)
            self.after(pause, lambda: self._submit_slices(request, options, rest))
        else:
            self.submitted = True

    def _adopt(self, records: list[Record]) -> None:
        for record in records:
            if self.records.get(record.key) is record:
                self.machine.release([record])  # one reference is enough
            self.records[record.key] = record

    def resubmit(self) -> None:
        """Submit the graph once more, while futures of it are still held, or after they were let go."""
        if self.submitted:
            for key in [key for key, record in self.records.items() if record.state in (CANCELLED, LOST)]:
                self.machine.release([self.records.pop(key)])
            self.submit()

    def want(self, keys: list[Key], owner: SimClient) -> None:
        """Attach to keys of another client."""
        self.expected.update({key: owner.expected[key] for key in keys})
        for key in keys:
            self.may_be_cancelled[key] = None  # nobody may hold it any more
            self._adopt([self.machine.want(key)])
        self.flush()

    def release(self, keys: list[Key]) -> None:
        """Let go of some futures."""
        self.machine.release([self.records.pop(key) for key in keys])
        self.flush()

    def cancel(self, keys: list[Key], force: bool) -> None:
        """Ask that these be cancelled."""
        self.machine.cancel(self._token("cancel"), [self.records[key] for key in keys], force, "changed my mind")
        self.flush()

    def retry(self) -> int:
        """Ask that what has failed be run again; returns how many tasks that concerns."""
        failed = [record for record in self.records.values() if record.state == ERROR]
        if failed:
            for record in failed:
                self._retried[record] = None
            self.machine.retry(self._token("retry"), failed)
            for record in failed:
                self._states[record] = record.state
            self.flush()
        return len(failed)

    def call(self, method: str, *args: Any) -> None:
        """Ask the scheduler for something by name."""
        self.machine.call(self._token(method), method, args)
        self.flush()

    def release_all(self) -> None:
        """Let go of all futures."""
        if self.connected:
            self.release(list(self.records))

    def _token(self, what: str) -> int:
        self._calls += 1
        self._awaited[self._calls] = what
        return self._calls

    def flush(self) -> None:
        """Send what the machine has queued."""
        self.link.send(self.machine.take_outbox())
        if self.simulation.options.check:
            self.machine.check()

    # ---- what comes back --------------------------------------------------------------------------------------------

    def _on_messages(self, messages: tuple[Message, ...]) -> None:
        if messages[0][0] == m.WELCOME:
            self.link.epoch = EPOCH
            self._comeback.back(self.world.now)
        self._answered(self.machine.handle(messages).answers)
        self._look()
        self.flush()

        if self.machine.owes_ack and not self._ack_planned:
            self._ack_planned = True
            self.after(ACK_AFTER_S, self._acknowledge)

    def _acknowledge(self) -> None:
        self._ack_planned = False
        self.machine.acknowledge()
        self.flush()

    # ---- connections that break -------------------------------------------------------------------------------------

    def _on_closed(self, link: End, reason: str) -> None:
        if link is not self.link or not self.connected:
            return
        if not self.machine.away:
            self._comeback.lost(self.world.now, self.machine.progress, self.machine.grace)
        if link.rejected:
            self._cut_off(reason)
            return
        self._answered(self.machine.link_lost(reason).answers)
        if self.machine.closed:
            self._cut_off(reason)
            return
        wait = self._comeback.next_wait(self.world.now, self.world.random.random())
        if wait is None:
            self._cut_off(f"{reason}, and no way back")
        else:
            self.after(wait, self._dial)

    def _dial(self) -> None:
        if self.world.random.random() < 0.2:
            self._on_closed(self.link, "connection refused")
            return
        self.link = link = self._make_link()
        self.start()
        self.after(ATTEMPT_S, lambda: None if link.epoch else link.abort("no welcome"))

    def _cut_off(self, reason: str) -> None:
        """There is no way back: everything that is open must have ended now, and not without need."""
        text = self.machine.farewell
        excused = self.link.rejected or self.given_up or self.world.now - self._comeback.since >= self.machine.grace
        if not excused or (text and not text.startswith("it has released this client's futures")):
            raise AssertionError(f"client {self.incarnation} was cut off without need: {reason}; {text}")
        self.connected = False
        self.machine.disconnected(reason)
        self._awaited.clear()
        self._look()
        for record in self.records.values():
            if record.state == PENDING:
                raise AssertionError(f"{record!r} of a client that is cut off waits forever")

    def _answered(self, answers: list[Answer]) -> None:
        for answer in answers:
            if isinstance(answer.token, int):
                if answer.token not in self._awaited:
                    raise AssertionError(f"request {answer.token} is answered a second time")
                del self._awaited[answer.token]
            elif answer.token == "fetch" and answer.ok:
                rows, missing = answer.value
                for key, payload in rows:
                    self._fetching.pop(key, None)
                    record = self.records.get(key)
                    if record is not None and record.state == FINISHED:
                        self.values[record] = int(payload)
                for key, reason in missing:
                    self._fetching.pop(key, None)
                    record = self.records.get(key)
                    if record is not None and record.state == FINISHED and self.simulation.excuses(reason):
                        self.unavailable[record] = None

    def _look(self) -> None:
        """Note new outcomes, refuse second ones, and fetch values that did not come along."""
        states = self._states
        for key, record in self.records.items():
            state = record.state
            before = states.get(record, PENDING)
            if state != before:
                self._check_move(record, before)
                states[record] = state
            lacks = state == FINISHED and record not in self.values and record not in self.unavailable
            if lacks and key not in self._fetching and self.connected:
                payload = record.result.payload
                if payload is not None:
                    self.values[record] = int(payload)  # type: ignore[arg-type]
                else:
                    self._fetching[key] = None
                    self.machine.fetch("fetch", (key,))

    def _check_move(self, record: Record, before: str) -> None:
        """A future has one outcome, unless its user asked to try again, or it was taken away before it was fetched."""
        if before == PENDING or (before == FINISHED and record.state in (CANCELLED, LOST)):
            return
        if before == ERROR and record in self._retried:
            return
        raise AssertionError(f"future {record.key!r} was {before} and is {record.state} now")

    # ---- the comparison ---------------------------------------------------------------------------------------------

    def open_keys(self) -> list[Key]:
        """Keys whose outcome, or value, is not here yet."""
        return [
            key
            for key, record in self.records.items()
            if record.state == PENDING
            or (record.state == FINISHED and record not in self.values and record not in self.unavailable)
        ]

    def open_requests(self) -> list[str]:
        """What was asked for and not answered yet. A restart may wait for workers that will not be back."""
        return [what for what in self._awaited.values() if what != "restart"]

    def wrong_keys(self) -> list[tuple[Key, str]]:
        """Keys whose outcome is none of those it may have."""
        wrong: list[tuple[Key, str]] = []
        for key, record in self.records.items():
            problem = self._problem(record, self.expected[key])
            if problem:
                wrong.append((key, problem))
        return wrong

    def _problem(self, record: Record, expected: Expected) -> str:
        state = record.state
        if state == FINISHED and record in self.unavailable:
            return ""
        if state == FINISHED:
            value = self.values[record]
            return "" if value == expected.value else f"has the value {value}, not {expected.value}"
        if state == ERROR:
            if expected.may_fail or self.simulation.excuses(record.failure.text):
                return ""
            return f"failed with {record.failure.text!r}, should be {expected.value}"
        if state == CANCELLED and record.key in self.may_be_cancelled:
            return ""
        return f"is {state}, not {FINISHED if expected.value is not None else ERROR}"
