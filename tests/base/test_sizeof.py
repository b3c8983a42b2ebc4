"""Sizes: exact for buffers, estimated for containers, never an exception."""

from __future__ import annotations

import sys
from array import array
from collections import deque, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from myscheduler.base.sizeof import sizeof

MB = 1_000_000


@pytest.mark.parametrize("value", [0, 10**100, 1.5, True, None, "text", b"bytes", bytearray(10), range(3), 1j])
def test_plain_values_are_exact(value: Any) -> None:
    assert sizeof(value) == sys.getsizeof(value)


def test_buffers_are_exact() -> None:
    assert sizeof(memoryview(bytes(1000))) == 1000
    assert sizeof(np.zeros(1000)) == 8000
    assert sizeof(np.float64(1)) == 8
    assert sizeof(array("d", [0.0] * 1000)) >= 8000


def test_an_array_of_repeated_memory_counts_it_once() -> None:
    assert sizeof(np.broadcast_to(np.zeros(1000), (500, 1000))) == 8000


def test_an_array_of_objects_counts_the_objects() -> None:
    assert sizeof(np.array([bytes(MB), bytes(MB + 1)], dtype=object)) >= 2 * MB


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, deque])
def test_containers_are_estimated_from_a_sample(kind: Any) -> None:
    values = kind(b"%06d" % number + bytes(1000) for number in range(1000))
    assert sizeof(values) == pytest.approx(1_100_000, rel=0.1)


def test_mappings_count_keys_and_values() -> None:
    values = {b"%06d" % number + bytes(1000): bytes(1000 + number % 2) for number in range(1000)}
    assert sizeof(values) == pytest.approx(2_150_000, rel=0.1)


def test_items_that_share_memory_are_counted_once() -> None:
    assert sizeof([bytes(MB)] * 1000) == pytest.approx(MB, rel=0.1)


def test_nested_containers_are_looked_into() -> None:
    assert sizeof([[[bytes(MB)]], {"a": (bytes(MB),)}]) >= 2 * MB


def test_objects_count_their_attributes() -> None:
    @dataclass
    class Record:
        name: str
        data: bytes

    pair = namedtuple("pair", "left right")
    assert sizeof(Record("x", bytes(MB))) >= MB
    assert sizeof(pair(bytes(MB), 0)) >= MB


def test_subclasses_of_containers_count_their_items() -> None:
    class Names(list):  # type: ignore[type-arg]
        pass

    class Table(dict):  # type: ignore[type-arg]
        pass

    assert sizeof(Names([bytes(MB)])) >= MB
    assert sizeof(Table(a=bytes(MB))) >= MB


def test_a_cycle_ends() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    assert sizeof(cycle) > 0


def test_values_that_raise_have_a_size_all_the_same() -> None:
    class Hostile:
        @property
        def nbytes(self) -> int:
            raise RuntimeError("no")

        def __sizeof__(self) -> int:
            raise RuntimeError("no")

    assert sizeof(Hostile()) > 0


def test_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.zeros(1000), "b": [bytes(1000 + i % 7) for i in range(1000)]})
    assert sizeof(frame) == pytest.approx(1_040_000, rel=0.1)
    assert sizeof(frame["a"]) == pytest.approx(8_000, rel=0.1)
