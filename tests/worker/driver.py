"""Drives a machine in tests: runs ``check`` after every event and writes rows briefly."""

from __future__ import annotations

from typing import Any, TypeVar

from myscheduler.protocol import messages as m
from myscheduler.worker.events import Chain, Event, Execute, ExecutionEnded, Instruction, Received, Send
from myscheduler.worker.machine import WorkerMachine

T = TypeVar("T")

HERE = "tcp://10.0.0.1:1000"
LOCAL = "tcp://10.0.0.1:2000"
FAR = "tcp://10.0.0.2:1000"
FARTHER = "tcp://10.0.0.3:1000"


def task(
    key: Any, attempt: int, rank: int = 0, deps: tuple = (), locations: tuple = (), func: bytes = b"f", flags: int = 0
) -> tuple:
    """A row of COMPUTE."""
    return (key, attempt, func, b"payload", rank, deps, locations, flags)


def result(key: Any, attempt: int, nbytes: int = 8, duration: float = 1.0) -> tuple:
    """A row of RESULTS."""
    return (key, attempt, nbytes, "int", None, 0, 0.0, duration)


def error(key: Any, attempt: int) -> tuple:
    """A row of ERRORS."""
    return (key, attempt, b"exception", "text", "traceback", 0, 0.0, 1.0)


class Driver:
    """A machine whose indexes are recomputed after every event."""

    def __init__(self, nthreads: int = 1, incarnation: str = "00000000000000a0", pause_at: int = 0) -> None:
        self.machine = WorkerMachine(incarnation, nthreads, HERE, pause_at)
        self.now = 0.0

    def __call__(self, event: Event) -> list[Instruction]:
        self.now += 1.0
        out = self.machine.handle(self.now, event)
        self.machine.check()
        for send in of(out, Send):
            m.validate(send.message, m.Role.WORKER)
        return out

    def receive(self, *messages: tuple) -> list[Instruction]:
        for message in messages:
            m.validate(message, m.Role.SCHEDULER)
        return self(Received(messages))

    def compute(self, *rows: tuple) -> list[Instruction]:
        return self.receive((m.COMPUTE, (), rows))

    def end(self, *results: tuple, errors: tuple = ()) -> list[Instruction]:
        return self(ExecutionEnded(list(results), list(errors)))


def of(out: list[Instruction], kind: type[T]) -> list[T]:
    """The instructions of one kind."""
    return [instruction for instruction in out if isinstance(instruction, kind)]


def sent(out: list[Instruction], op: int) -> tuple:
    """The rows sent to the scheduler in messages of one kind."""
    return tuple(row for send in of(out, Send) if send.message[0] == op for row in send.message[1])


def executed(out: list[Instruction]) -> list:
    """The keys handed to the executor, in order."""
    return [row[0] for instruction in out if isinstance(instruction, Execute | Chain) for row in instruction.rows]
