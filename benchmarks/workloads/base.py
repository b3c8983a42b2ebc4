"""What all workloads share: how they are described, and what their tasks do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..systems.base import System

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a figure means: its unit, and whether more is better."""

    title: str
    unit: str
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """``run(system, scale)`` measures a started system; scale 1 is the full size.

    ``starts_itself``: the starting is part of it, the system comes unstarted.
    """

    run: Callable[[System, float], Figures]
    metrics: dict[str, Metric]
    starts_itself: bool = False


def inc(number: int) -> int:
    return number + 1


def add(left: int, right: int) -> int:
    return left + right


def nap(seconds: float) -> None:
    time.sleep(seconds)


def reverse(data: bytes) -> bytes:
    return data[::-1]


def make_bytes(nbytes: int, fill: int) -> bytes:
    return bytes([fill % 256]) * nbytes


def total_length(*parts: bytes) -> int:
    return sum(map(len, parts))


def split(number: int, width: int) -> list[int]:
    """What splitter ``number`` has for each merger."""
    return [number * width + part for part in range(width)]


def merge(parts: list[int]) -> int:
    return sum(parts)


def column(part: int, *rows: list[int]) -> int:
    """What merger ``part`` makes of all that the splitters have."""
    return sum(row[part] for row in rows)


def make_array(nbytes: int, fill: int) -> np.ndarray[Any, Any]:
    return np.full(nbytes, fill % 256, dtype=np.uint8)


def look_at(array: np.ndarray[Any, Any]) -> int:
    """Touch every page, as whoever asked for the data would."""
    return int(array[::4096].sum())


def warm_up(system: System) -> None:
    """Every process has met the functions, and connections stand."""
    values = system.gather(system.map(inc, range(200)))
    assert values == list(range(1, 201))
    assert system.result(system.submit(add, system.submit(inc, 0), 1)) == 2
