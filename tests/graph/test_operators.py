from __future__ import annotations

import operator
from typing import Any

import pytest

from myscheduler.graph.delayed import Delayed, delayed

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.lshift, operator.rshift, operator.and_, operator.or_, operator.xor, divmod,
    operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip


def value(node: Delayed[Any]) -> Any:
    assert isinstance(node, Delayed)
    return node.compute(scheduler="synchronous")


@pytest.mark.parametrize("func", BINARY)
def test_binary_operators_both_ways(func: Any) -> None:
    assert value(func(delayed(7), 2)) == func(7, 2)
    assert value(func(7, delayed(2))) == func(7, 2)
    assert value(func(delayed(7), delayed(2))) == func(7, 2)


@pytest.mark.parametrize("func", [operator.neg, operator.pos, operator.invert, abs, round])
def test_unary_operators(func: Any) -> None:
    assert value(func(delayed(-7))) == func(-7)


def test_the_others() -> None:
    assert value(delayed([1, 2, 3])[1]) == 2
    assert value(delayed([1, 2, 3])[delayed(0) : delayed(2)]) == [1, 2]
    assert value(pow(delayed(7), 2, 5)) == 4
    assert value(round(delayed(1.234), 2)) == 1.23


class Matrix:
    def __matmul__(self, other: int) -> str:
        return f"matrix @ {other}"

    def __rmatmul__(self, other: int) -> str:
        return f"{other} @ matrix"


def test_matmul() -> None:
    assert value(delayed(Matrix()) @ 2) == "matrix @ 2"
    assert value(delayed(2) @ delayed(Matrix())) == "2 @ matrix"


def test_equal_operations_are_one_task() -> None:
    x = delayed(1, name="x")
    assert (x + 1).key == (x + 1).key
    assert len({(x + 1).key, (1 + x).key, (x + 2).key, (x - 1).key}) == 4


def test_in_place_operators_make_another_node() -> None:
    x = y = delayed(1)
    x += 1
    assert value(x) == 2
    assert value(y) == 1


def test_numpy_scalars_leave_the_operation_to_us() -> None:
    numpy = pytest.importorskip("numpy")
    assert value(numpy.float64(2) * delayed(3)) == 6
    assert value(numpy.arange(3) + delayed(1)).tolist() == [1, 2, 3]
