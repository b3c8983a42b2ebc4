"""Peers that have proved who they are and then misbehave: valid messages with nonsense in them, to the scheduler's machine.

``Siege`` is a cluster in which one honest client and one honest worker go about their business while hostile ones of every
role say whatever the table of messages lets them. After each turn the tables are recounted, and the honest two must be there
still. ``python -m tests.fuzz.hostile --messages 1000000`` runs a long one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final

from myscheduler.base.errors import ProtocolError
from myscheduler.base.limits import ROWS_PER_MESSAGE_MAX
from myscheduler.protocol import messages as m
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.codec import Encoder
from myscheduler.scheduler.check import check
from myscheduler.scheduler.events import Disconnect, Event, PeerJoined, PeerLeft, Received, Send, Shutdown
from myscheduler.scheduler.machine import SchedulerMachine
from myscheduler.scheduler.queries import METHODS

VERSIONS: Final = {"python": "3.11", "myscheduler": "0.1.0"}
_FUNCTION: Final = b"f" * 16
_NO_TERMS: Final = (None,) * (len(m.OPTION_FIELDS) - 5)
_RUN: Final = m.Rows((m._KEY, (int,)))
_INTEGERS: Final = (0, 1, 2, 3, -1, 7, 10**9, -(10**9), 2**31, 2**63 - 1, 2**64 - 1, -(2**63))
_FLOATS: Final = (0.0, 1.0, -1.0, 0.5, float("nan"), float("inf"), float("-inf"), 1e308, 5e-324)
_TEXTS: Final = (
    "",
    "x",
    "w-honest",
    "hw0",
    "tcp://hw0",
    "tcp://w-honest",
    "a" * 5000,
    "\x00",
    "\udc80",
    "<script>",
    "close",
    "memory",
)
_ROLES: Final = {"c": m.Role.CLIENT, "w": m.Role.WORKER, "o": m.Role.OBSERVER}


class Siege:
    """One machine, two honest peers and some hostile ones.

    Parameters
    ----------
    seed : int
        The same seed gives the same siege.
    checked_every : int
        Turns between two recounts.
    """

    def __init__(self, seed: int, checked_every: int = 1) -> None:
        self.random = Random(seed)
        self._odd = self.random.choice((0.01, 0.05, 0.3))  # how often a value is nonsense
        self._runs: dict[str, list[tuple[Any, int]]] = {}  # given to hostile workers, by worker
        self.machine = SchedulerMachine(1, "00" * 16, "tcp://s", VERSIONS)  # type: ignore[arg-type]
        self.core = self.machine.core
        self.now = 0.0
        self.messages = 0  # hostile ones that were let through to the machine
        self.dropped = 0  # hostile peers
        self.done = 0  # honest results that arrived
        self._turns = 0
        self._checked_every = checked_every
        self._joined = 0
        self._request = 0
        self._keys: list[Any] = ["honest", "x", ("y", 1), 7, 1.5, b"z"]
        self._attempts: list[int] = [0, 1]
        self._hostile: list[str] = []
        self._join("c-honest", {})
        self._join("w-honest", self._worker_info("w-honest"))

    # ---- peers ------------------------------------------------------------------------------------------------------

    def _worker_info(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "address": f"tcp://{name}",
            "host": "h",
            "pid": 1,
            "nthreads": 2,
            "memory_limit": 0,
            "resources": {"gpu": 1},
        }

    def _join(self, peer: str, info: dict[str, Any]) -> None:
        hello = {"versions": VERSIONS, **info}
        m.validate((m.HELLO, hello), _ROLES[peer[0]])
        self._turn(PeerJoined(peer, _ROLES[peer[0]], hello))

    def _reinforce(self) -> None:
        """Another hostile peer; one in four garbles its HELLO."""
        self._joined += 1
        peer = f"{self.random.choice('cwo')}-{self._joined}"
        info = self._worker_info(f"hw{self._joined}") if peer[0] == "w" else {}
        if peer[0] == "c" and self.random.random() < 0.7:
            info["resume"] = (0, 0)
        if self.random.random() < 0.25:
            for name in list(info):
                if self.random.random() < 0.3:
                    info[name] = self._anything(2)
        hello = {"versions": VERSIONS, **info}
        try:
            m.validate((m.HELLO, hello), _ROLES[peer[0]])
        except ProtocolError:
            self.dropped += 1
            return
        self._hostile.append(peer)
        self._turn(PeerJoined(peer, _ROLES[peer[0]], hello))

    def _come_back(self, peer: str) -> None:
        """A client claims to have been here before, and to have received whatever it likes."""
        epoch = self.random.choice((1, 1, 1, 0, 2))
        hello = {"versions": VERSIONS, "resume": (epoch, self.random.choice((0, 1, 2, 3, 50)))}
        m.validate((m.HELLO, hello), m.Role.CLIENT)
        self._turn(PeerJoined(peer, m.Role.CLIENT, hello))

    # ---- turns ------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One turn: somebody hostile speaks, and now and then the honest ones do."""
        random = self.random
        self.now += random.choice((0.0, 0.0, 0.001, 0.1))
        self._hostile = [peer for peer in self._hostile if self._is_there(peer)]
        if len(self._hostile) < 4 or random.random() < 0.01:
            self._reinforce()
            return
        if random.random() < 0.1:
            self._behave()
            return
        peer = random.choice(self._hostile)
        if random.random() < 0.01:
            self._turn(PeerLeft(peer, "gone", random.random() < 0.5))
            if peer[0] == "c" and random.random() < 0.5:
                self._come_back(peer)
            return
        self._speaker = peer
        said = [self._hostile_message(_ROLES[peer[0]]) for _ in range(random.choice((1, 1, 1, 3)))]
        for message in said:
            try:
                m.validate(message, _ROLES[peer[0]])
            except ProtocolError:
                self._turn(PeerLeft(peer, "broke the protocol"))  # what the link does
                self.dropped += 1
                return
        self.messages += len(said)
        self._turn(Received(peer, tuple(said)))

    def _is_there(self, peer: str) -> bool:
        core = self.core
        return peer in core.workers or peer in core.clients or peer in core.observers

    def _turn(self, *events: Event) -> None:
        for instruction in self.machine.handle(self.now, list(events)):
            if isinstance(instruction, Send):
                self._deliver(instruction)
            elif isinstance(instruction, Disconnect):
                assert "honest" not in instruction.peer, instruction.reason
                self.dropped += 1
            else:
                assert isinstance(instruction, Shutdown)
        self._turns += 1
        if not self._turns % self._checked_every:
            check(self.core)
        assert self._is_there("c-honest")

    def _deliver(self, send: Send) -> None:
        """What the machine says must be sayable, and valid."""
        encoder = Encoder()
        for message in send.messages:
            m.validate(message, m.Role.SCHEDULER)
            encoder.add(message)
            if message[0] == m.COMPUTE:
                self._attempts = (self._attempts + [row[1] for row in message[2]])[-50:]
                self._keys = (self._keys + [row[0] for row in message[2]])[-50:]
                runs = [(row[0], row[1]) for row in message[2]]
                if send.peer == "w-honest":
                    self._assigned = runs
                else:
                    self._runs[send.peer] = (self._runs.get(send.peer, []) + runs)[-50:]
            elif message[0] == m.IN_MEMORY and send.peer == "c-honest":
                self.done += len(message[1])

    _assigned: list[tuple[Any, int]] = []
    _speaker = ""

    def _behave(self) -> None:
        """The honest client submits one task, the honest worker answers what it has; it was told to stop by nobody honest."""
        if "w-honest" not in self.core.workers:
            self._join("w-honest", self._worker_info("w-honest"))
        self._turn(Received("w-honest", ((m.HEARTBEAT, {"cpu": 1.0}),)))
        self._request += 1
        key = f"honest-{self._request}"
        rows = ((key, _FUNCTION, b"args", (), 0, 0),)
        option = (0, 0, ("w-honest",), False, None, *_NO_TERMS)
        submit = (m.SUBMIT, self._request, ((_FUNCTION, b"code"),), (option,), rows, None, False)
        self._turn(Received("c-honest", (submit,)))
        if self._assigned:
            results = tuple((key, attempt, 8, "int", None, 0, 0.0, 0.001) for key, attempt in self._assigned)
            self._assigned = []
            self._turn(Received("w-honest", ((m.RESULTS, results),)))
        self._turn(Received("c-honest", ((m.RELEASE, (key,)),)))

    # ---- nonsense ---------------------------------------------------------------------------------------------------

    def _hostile_message(self, role: m.Role) -> m.Message:
        random = self.random
        ops = [op for op, spec in m.SPECS.items() if role in spec.senders]
        op = random.choice(ops)
        if op in (m.HELLO, m.GOODBYE) and random.random() < 0.9:
            op = random.choice(ops)
        if op == m.CALL and random.random() < 0.8:
            arguments = tuple(self._argument() for _ in range(random.randrange(5)))
            names = [name for name in METHODS if name not in ("shutdown", "restart") or random.random() < 0.05]
            return (op, self._number(), random.choice(names), arguments)
        fields = [self._field(expected) for expected in m.SPECS[op].fields]
        if op == m.SUBMIT and random.random() < 0.7:
            fields = self._submit()
        if op == m.UNFETCHED and random.random() < 0.7:
            failures = tuple((self._key(), self._attempt(), self._text()) for _ in range(random.choice((1, 2))))
            fields = [tuple((*self._row(_RUN)[:2], failures) for _ in range(random.randrange(3)))]
        return (op, *fields)

    def _is_odd(self) -> bool:
        return self.random.random() < self._odd

    def _submit(self) -> list[Any]:
        """A graph that makes sense but for a thing or two."""
        random = self.random
        functions = () if self._is_odd() else ((_FUNCTION, b"code"),)
        options = () if self._is_odd() else tuple(self._option() for _ in range(random.choice((1, 2))))
        rows = []
        for order in range(random.randrange(5)):
            deps = tuple(self._key() for _ in range(random.choice((0, 0, 1, 2))))
            place = self._number() if self._is_odd() else order
            option = self._number() if self._is_odd() else 0
            rows.append((self._key(), _FUNCTION, b"args", deps, place, option))
        wants = None if random.random() < 0.5 else tuple(random.randrange(len(rows)) for _ in rows)
        if self._is_odd():
            wants = (self._anything(1),)
        return [random.randrange(4), functions, options, tuple(rows), wants, random.random() < 0.2]

    def _option(self) -> tuple[Any, ...]:
        random = self.random
        terms = random.choice((None, None, (0.0, 1.0, None, None, 1.0), (self._real(), 1e9, self._real(), b"", 5)))
        workers: Any = random.choice((None, None, None, ("hw1", "hw2", "hw3"), (), ("w-honest", "x")))
        resources: Any = random.choice((None, None, None, (("gpu", 1),), (("gpu", self._real()),), (("tpu", 1),)))
        if self._is_odd():
            workers, resources = (
                (self._anything(1),),
                random.choice(((self._anything(1),), ("gpu",), (("gpu", 1),) * 2)),
            )
        return (
            self._real() if random.random() < 0.5 else self._number(),
            self._number(),
            workers,
            random.random() < 0.5,
            resources,
            *([terms] if _NO_TERMS else []),
        )

    def _field(self, expected: Any) -> Any:
        random = self.random
        if isinstance(expected, m.Rows):
            count = random.choice((0, 1, 1, 2, 3, ROWS_PER_MESSAGE_MAX if random.random() < 0.01 else 1))
            return tuple(self._row(expected) for _ in range(count))
        return self._value(expected, None)

    def _row(self, expected: m.Rows) -> tuple[Any, ...]:
        """Mostly about a run that the speaker was given, or was given once."""
        row = [self._value(types, i) for i, types in enumerate(expected.fields)]
        runs = self._runs.get(self._speaker)
        if runs and len(row) > 1 and type(row[1]) is int and self.random.random() < 0.7:
            row[:2] = self.random.choice(runs)
        return tuple(row)

    def _value(self, types: tuple[type, ...], position: int | None) -> Any:
        random = self.random
        if tuple in types and str in types:
            return self._key()
        kind = random.choice(types)
        if kind is int:
            return self._attempt() if position == 1 and random.random() < 0.7 else self._number()
        makers: dict[type, Callable[[], Any]] = {
            float: self._real,
            str: self._text,
            bool: lambda: random.random() < 0.5,
            bytes: lambda: random.choice((b"", b"bytes", _FUNCTION)),
            dict: lambda: {"cpu": self._anything(2), self._text(): self._anything(2)},
            tuple: lambda: tuple(
                self._anything(2) if self._is_odd() else self._key() for _ in range(random.randrange(4))
            ),
            Blob: lambda: Blob((b"stream", b"x" * 100)),
            object: lambda: self._anything(2),
        }
        return makers[kind]() if kind in makers else None

    def _key(self) -> Any:
        random = self.random
        if random.random() > self._odd:
            return random.choice(self._keys) if random.random() < 0.8 else f"k-{random.randrange(20)}"
        return random.choice(
            (
                f"k-{random.randrange(20)}",
                float("nan"),
                (),
                ((((),),),),
                True,
                "a" * 5000,
                2**64 - 1,
                "",
                b"\xff",
                ("x", None),
            )
        )

    def _attempt(self) -> int:
        return self.random.choice(self._attempts) if self.random.random() > self._odd else self._number()

    def _number(self) -> int:
        return self.random.choice(_INTEGERS if self.random.random() < self._odd else _INTEGERS[:4])

    def _real(self) -> float:
        return self.random.choice(_FLOATS if self.random.random() < self._odd else _FLOATS[:2])

    def _text(self) -> str:
        return self.random.choice(_TEXTS)

    def _argument(self) -> Any:
        random = self.random
        return random.choice(
            (
                None,
                True,
                self._number(),
                self._key(),
                (self._key(), self._key()),
                ("hw0", "w-honest"),
                self._anything(2),
            )
        )

    def _anything(self, depth: int) -> Any:
        random = self.random
        kind = random.randrange(8 if depth else 6)
        if kind == 6:
            return tuple(self._anything(depth - 1) for _ in range(random.randrange(3)))
        if kind == 7:
            return {self._text(): self._anything(depth - 1) for _ in range(random.randrange(3))}
        return (None, random.random() < 0.5, self._number(), self._real(), self._text(), b"bytes")[kind]


def main() -> None:
    """Besiege machines until enough has been said; a failure names its seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.hostile")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first siege")
    parser.add_argument("--turns", type=int, default=1000, help="per siege")
    options = parser.parse_args()
    said = dropped = done = 0
    seed, begun = options.seed, time.monotonic()
    while said < options.messages:
        siege = Siege(seed)
        try:
            for _ in range(options.turns):
                siege.step()
        except Exception:
            print(f"seed {seed} fails: python -m tests.fuzz.hostile --messages 1 --seed {seed}")
            raise
        said, dropped, done, seed = said + siege.messages, dropped + siege.dropped, done + siege.done, seed + 1
    seconds = time.monotonic() - begun
    print(f"{said:,} messages in {seed - options.seed:,} sieges, {seconds:.0f} s")
    print(f"{dropped:,} peers dropped, {done:,} honest results")


if __name__ == "__main__":
    main()
