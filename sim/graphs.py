"""Random graphs whose values are known: each task adds its own number to a weighted sum of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..base.ids import Randomness
from ..base.keys import Key

#: Values stay below this.
MODULUS = 2**61 - 1


@dataclass(frozen=True, slots=True)
class SimTask:
    """One task: its own number, its inputs in order, how long it runs, whether it raises."""

    number: int
    deps: tuple[Key, ...]
    seconds: float
    raises: bool = False

    def payload(self) -> bytes:
        """What the scheduler passes on unread."""
        return f"{self.number} {self.seconds} {int(self.raises)}".encode()

    @staticmethod
    def read(payload: bytes, deps: tuple[Key, ...]) -> SimTask:
        """What ``payload`` was made of."""
        number, seconds, raises = payload.decode().split()
        return SimTask(int(number), deps, float(seconds), raises == "1")

    def value(self, inputs: list[int]) -> int:
        """The result for these values of the inputs."""
        return (self.number + sum(weight * value for weight, value in enumerate(inputs, 2))) % MODULUS


def random_graph(random: Randomness, prefix: str, size: int, failures: float) -> dict[Key, SimTask]:
    """A graph in topological order; shapes from wide to deep, some tasks slow, some failing."""
    graph: dict[Key, SimTask] = {}
    keys: list[Key] = []
    reach = random.choice((2, 8, size))  # inputs come from the last few tasks (deep) or from anywhere (wide)
    mean = random.choice((1e-5, 1e-3, 0.1))
    for index in range(size):
        pool = keys[-reach:]
        count = min(len(pool), random.choice((0, 0, 1, 1, 2, 3, 8)))
        deps = tuple(random.sample(pool, count))
        key: Key = f"{prefix}-{index}" if random.random() < 0.8 else (prefix, index)
        seconds = random.expovariate(1 / mean)
        graph[key] = SimTask(random.randrange(MODULUS), deps, seconds, random.random() < failures)
        keys.append(key)
    return graph


def evaluate(graph: Mapping[Key, SimTask]) -> dict[Key, int | None]:
    """The values, one task after the other; None for tasks that fail or need one that does."""
    values: dict[Key, int | None] = {}
    for key, task in graph.items():
        inputs = [values[dep] for dep in task.deps]
        known = [value for value in inputs if value is not None]
        values[key] = None if task.raises or len(known) < len(inputs) else task.value(known)
    return values
