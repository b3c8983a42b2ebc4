from __future__ import annotations

import copy
import datetime as dt
import functools
import operator
import subprocess
import sys
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myscheduler.base.refs import TaskRef
from myscheduler.graph.tokenize import tokenize, tokenize_with


class Color(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: Any
    y: Any = 0

    def norm(self) -> Any:
        return self.x


@dataclass
class OtherPoint:
    x: Any
    y: Any = 0


class Custom:
    def __init__(self, name: str, cache: object) -> None:
        self.name = name
        self.cache = cache

    def __myscheduler_tokenize__(self) -> object:
        return self.name


class Opaque:
    def __init__(self, held: Any) -> None:
        self.held = held


def adder(n: int) -> Any:
    return lambda x: x + n


def cyclic() -> list[Any]:
    items: list[Any] = [1]
    items.append(items)
    return items


SAME = [
    lambda: None, lambda: 5, lambda: -(2**100), lambda: 1.5, lambda: float("nan"), lambda: "text", lambda: "\ud800",
    lambda: b"x", lambda: [1, (2, {3: 4})], lambda: {"b", "a"}, lambda: slice(1, None), lambda: range(3),
    lambda: ..., lambda: 1j, lambda: Color.RED, lambda: Point(1, [2]), lambda: Path("/a"),
    lambda: dt.datetime(2020, 1, 1, tzinfo=dt.UTC), lambda: Decimal("1.5"), lambda: Counter("ab"), lambda: len,
    lambda: operator.add, lambda: [].append, lambda: adder, lambda: adder(1),
    lambda: functools.partial(int, base=2), lambda: Point, lambda: Point(1).norm, lambda: sys, lambda: TaskRef("x"),
    lambda: Opaque(1), lambda: Custom("a", threading.Lock()), cyclic, lambda: Opaque(TaskRef("x")), lambda: Color,
]  # fmt: skip


@pytest.mark.parametrize("make", SAME)
def test_the_same_again_has_the_same_token(make: Any) -> None:
    assert tokenize(make()) == tokenize(make())
    assert len(tokenize(make())) == 32


def test_all_of_these_differ() -> None:
    others = [
        True, 1, 1.0, 0.0, -0.0, "1", b"1", bytearray(b"1"), (1,), [1], {1}, frozenset({1}), {1: 1}, OrderedDict({1: 1}),
        [[1], 2], [[1, 2]], ["ab", "c"], ["a", "bc"], {"a": "b"}, {"b": "a"}, Color.BLUE, Point(2), OtherPoint(1, [2]),
        Path("/b"), PurePosixPath("/b"), operator.sub, adder(2), functools.partial(int, base=3), OtherPoint, Point(2).norm,
        Custom("b", None), Opaque(2), TaskRef("y"), Opaque(TaskRef("y")), int, str, "x", ("x",), None, 5, (), [], {}, set(),
        lambda x: x + 1, lambda x: x + 2, lambda x, y=1: x, lambda x, y=2: x, lambda x, *, y=2: x,
    ]  # fmt: skip
    assert len({tokenize(item) for item in others}) == len(others)
    assert tokenize(1, 2) != tokenize((1, 2)) != tokenize(x=1)


def test_order_of_sets_and_dicts_does_not_count() -> None:
    assert tokenize({"a": 1, "b": 2}) == tokenize({"b": 2, "a": 1})
    assert tokenize({frozenset({1, 2}), "c"}) == tokenize({"c", frozenset({2, 1})})
    assert tokenize([1, 2]) != tokenize([2, 1])


@pytest.mark.parametrize("make", [object, threading.Lock, lambda: (i for i in "a"), lambda: Opaque(threading.Lock())])
def test_what_cannot_be_told_apart_is_never_the_same(make: Any) -> None:
    item = make()
    assert tokenize(item) != tokenize(item)


def test_functions_of_scripts_depend_on_their_globals() -> None:
    def define(scale: int) -> Any:
        namespace: dict[str, Any] = {"__name__": "__main__", "scale": scale}
        exec("def helper(x): return x * scale\ndef f(x): return helper(x) if x else f(x)", namespace)
        return namespace["f"]

    assert tokenize(define(1)) == tokenize(define(1)) != tokenize(define(2))


def test_classes_of_scripts_are_what_their_bodies_say() -> None:
    def define(body: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(
            "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"
            f"    def f(self): return {body}\n    p = property(lambda self: 1)\n"
            "    s = staticmethod(len)\n    c = classmethod(lambda cls: 1)",
            namespace,
        )
        return namespace["A"](1)

    assert tokenize(define("1")) == tokenize(define("1")) != tokenize(define("2"))


def test_closures_that_are_not_assigned_yet() -> None:
    def f() -> int:
        return later

    assert tokenize(f) == tokenize(f)
    before = tokenize(f)
    later = 1
    assert tokenize(f) != before


def test_nesting_too_deep_to_look_at_is_never_the_same() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert tokenize(deep) != tokenize(deep)


def test_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(6)
    same = [array.copy(), numpy.arange(12)[::2] // 2]
    assert {tokenize(item) for item in same} == {tokenize(array)}
    others = [
        array.reshape(2, 3), array.astype("f8"), array + 1, array.astype("m8[s]"), array[:0], numpy.array(5), numpy.int64(5),
        numpy.float64(5), 5, numpy.array(["a"]), numpy.array(["a"], dtype=object), numpy.ma.array([1], mask=[True]),
        numpy.ma.array([1], mask=[False]), numpy.dtype("f8"), numpy.zeros(1, "i4,f8"), numpy.add,
    ]  # fmt: skip
    assert len({tokenize(item) for item in [array, *others]}) == len(others) + 1
    for item in others:
        assert tokenize(item) == tokenize(item)


@pytest.mark.parametrize("nbytes", [65_536, 65_537, 5_000_000])
def test_large_data(nbytes: int) -> None:
    numpy = pytest.importorskip("numpy")
    data = bytes(nbytes)
    others = [
        data, bytearray(data), data[:-1], data[:-1] + b"1", "0" * nbytes, [data], numpy.zeros(nbytes, "u1"),
        numpy.zeros(nbytes, "i1"), numpy.zeros(nbytes), Opaque(data), Opaque(bytearray(data)), Opaque(numpy.zeros(nbytes)),
        Opaque(numpy.ones(nbytes)),
    ]  # fmt: skip
    assert len({tokenize(item) for item in others}) == len(others)
    for item in others:
        assert tokenize(item) == tokenize(copy.deepcopy(item))


def test_large_data_is_digested_as_told() -> None:
    numpy = pytest.importorskip("numpy")
    seen: list[int] = []

    def digest(data: bytes | bytearray | memoryview) -> bytes:
        seen.append(len(data))
        return b"%d" % len(data)

    small, large = bytes(100), bytes(70_000)
    assert tokenize_with(digest, small, {"a": small}, tokenize) == tokenize(small, {"a": small}, tokenize)
    assert seen == []
    assert tokenize_with(digest, large) == tokenize_with(digest, b"x" + large[1:]) != tokenize(large)
    assert tokenize_with(digest, {"a": [Opaque(numpy.zeros(80_000, "u1"))]}) != tokenize_with(digest, [])
    assert seen == [70_000, 70_000, 80_000]
    assert tokenize(large) == tokenize(bytes(large))  # what was told does not stay


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_large_data_is_not_copied(kind: type[bytes | bytearray]) -> None:
    data, digested = kind(70_000), []

    def digest(data: bytes | bytearray | memoryview) -> bytes:
        digested.append(data)
        return b"digest"

    tokenize_with(digest, data)
    assert digested[0] is data


def test_tokens_are_the_same_in_other_processes() -> None:
    code = (
        "import operator; from pathlib import PurePosixPath; from myscheduler.graph.tokenize import tokenize;"
        "print(tokenize({'a', 'b', 'c'}, {'x': [1, 2.5]}, operator.add, tokenize, PurePosixPath('a')))"
    )
    command = [sys.executable, "-c", code]
    tokens = {
        subprocess.run(
            command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True, timeout=50
        ).stdout
        for seed in ("1", "2")
    }
    assert len(tokens) == 1


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_values, _values)
def test_different_values_have_different_tokens(one: Any, other: Any) -> None:
    assert tokenize(one) == tokenize(one)
    if tokenize(one) == tokenize(other):
        assert one == other
