"""Random graphs whose values are known: each task adds its own number to a weighted sum of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from ..base.ids import Randomness
from ..base.items import index_of, is_item, make_item
from ..base.keys import Key

#: Values stay below this.
MODULUS: Final = 2**61 - 1
#: Raises however often it runs.
ALWAYS: Final = 1000
#: Parts that tasks take of a value.
_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class SimTask:
    """One task.

    Parameters
    ----------
    number : int
        Its own number.
    deps : tuple of keys
        Its inputs, in order.
    seconds : float
        How long it runs.
    raises : int
        How many of its runs raise, before one does not.
    retries : int
        How often the scheduler tries again.
    secedes : bool
        Whether it leaves its thread slot half way.
    priority : int
        Higher first.
    gpus : int
        How many units of the resource ``gpu`` it takes.
    parts : bool
        Whether it needs only parts of some of its inputs, by its number.
    """

    number: int
    deps: tuple[Key, ...]
    seconds: float
    raises: int = 0
    retries: int = 0
    secedes: bool = False
    priority: int = 0
    gpus: int = 0
    parts: bool = False

    @property
    def inputs(self) -> tuple[Key, ...]:
        """Keys and items, for each of ``deps``."""
        if not self.parts:
            return self.deps
        picks = [(self.number >> 7 * position) % (2 * _PARTS) for position in range(len(self.deps))]
        pairs = zip(self.deps, picks, strict=True)
        return tuple([make_item(pick, dep, pick) if pick < _PARTS else dep for dep, pick in pairs])

    def payload(self) -> bytes:
        """What the scheduler passes on unread."""
        return f"{self.number} {self.seconds} {self.raises} {int(self.secedes)} {self.gpus}".encode()

    @staticmethod
    def read(payload: bytes, deps: tuple[Key, ...]) -> SimTask:
        """What a worker learns of the task."""
        number, seconds, raises, secedes, gpus = payload.decode().split()
        return SimTask(int(number), deps, float(seconds), int(raises), secedes=secedes == "1", gpus=int(gpus))

    def value(self, inputs: list[int]) -> int:
        """The result for these values of the inputs."""
        return (self.number + sum(weight * value for weight, value in enumerate(inputs, 2))) % MODULUS


def part_of(value: int, needed: Key) -> int:
    """What a task gets that needs a value, or an item of it."""
    return (value + 1) * (int(index_of(needed)) + 3) % MODULUS if is_item(needed) else value


@dataclass(frozen=True, slots=True)
class Expected:
    """What a sequential evaluation gives.

    Parameters
    ----------
    value : int or None
        None for tasks that fail whatever happens, or need one that does.
    may_fail : bool
        It depends on how many of its runs are counted: reports of a run that raised may be lost with a worker.
    """

    value: int | None
    may_fail: bool = False


def random_graph(random: Randomness, prefix: str, size: int, failures: float) -> dict[Key, SimTask]:
    """A graph in topological order; shapes from wide to deep, some tasks slow, some failing."""
    graph: dict[Key, SimTask] = {}
    keys: list[Key] = []
    reach = random.choice((2, 8, size))  # inputs come from the last few tasks (deep) or from anywhere (wide)
    mean = random.choice((1e-5, 1e-3, 0.1, 20.0 / size))  # the last: few tasks that outlast most faults
    special = random.choice((0.0, 0.0, 0.2))
    parts = False
    for index in range(size):
        pool = keys[-reach:]
        count = min(len(pool), random.choice((0, 0, 1, 1, 2, 3, 8)))
        deps = tuple(random.sample(pool, count))
        key: Key = f"{prefix}-{index}" if random.random() < 0.8 else (prefix, index)
        seconds = random.expovariate(1 / mean)
        raises = random.choice((ALWAYS, 1, 2, 3)) if random.random() < failures else 0
        retries = random.choice((0, 0, 1, 3)) if raises else 0
        task = SimTask(random.randrange(MODULUS), deps, seconds, raises, retries)
        if random.random() < special:
            task = SimTask(
                *(task.number, deps, seconds, raises, retries),
                secedes=random.random() < 0.3,
                priority=random.choice((-1, 0, 5)),
                gpus=random.choice((0, 0, 1)),
            )
        # Decided by what has been drawn anyway, so that seeds from before there were parts make the same graphs.
        parts = parts or (index == 0 and task.number % 3 == 0)
        graph[key] = replace(task, parts=True) if parts else task
        keys.append(key)
    return graph


def evaluate(graph: Mapping[Key, SimTask]) -> dict[Key, Expected]:
    """What must come out, one task after the other."""
    expected: dict[Key, Expected] = {}
    for key, task in graph.items():
        inputs = [expected[dep] for dep in task.deps]
        pairs = zip(inputs, task.inputs, strict=True)
        known = [part_of(entry.value, needed) for entry, needed in pairs if entry.value is not None]
        fails = task.raises == ALWAYS or len(known) < len(inputs)
        doubtful = task.raises > task.retries or any(entry.may_fail for entry in inputs)
        expected[key] = Expected(None if fails else task.value(known), may_fail=fails or doubtful)
    return expected
