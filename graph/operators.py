"""The operators of ``Delayed``: each makes a task, named after what it does to what, so that equal ones are shared."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any


def _unary(func: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def method(self: Operators) -> Any:
        return self._operate(func, self)

    return method


def _binary(func: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Operators, other: Any) -> Any:
        return self._operate(func, self, other)

    return method


def _reflected(func: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Operators, other: Any) -> Any:
        return self._operate(func, other, self)

    return method


class Operators:
    """Mixin: Python's operators, each turned into a call of its function from the ``operator`` module."""

    __slots__ = ()

    def _operate(self, func: Callable[..., Any], *args: Any) -> Any:
        """Make the task ``func(*args)``."""
        raise NotImplementedError

    __abs__ = _unary(abs)
    __neg__ = _unary(operator.neg)
    __pos__ = _unary(operator.pos)
    __invert__ = _unary(operator.invert)

    __add__ = _binary(operator.add)
    __sub__ = _binary(operator.sub)
    __mul__ = _binary(operator.mul)
    __matmul__ = _binary(operator.matmul)
    __truediv__ = _binary(operator.truediv)
    __floordiv__ = _binary(operator.floordiv)
    __mod__ = _binary(operator.mod)
    __divmod__ = _binary(divmod)
    __lshift__ = _binary(operator.lshift)
    __rshift__ = _binary(operator.rshift)
    __and__ = _binary(operator.and_)
    __or__ = _binary(operator.or_)
    __xor__ = _binary(operator.xor)

    __radd__ = _reflected(operator.add)
    __rsub__ = _reflected(operator.sub)
    __rmul__ = _reflected(operator.mul)
    __rmatmul__ = _reflected(operator.matmul)
    __rtruediv__ = _reflected(operator.truediv)
    __rfloordiv__ = _reflected(operator.floordiv)
    __rmod__ = _reflected(operator.mod)
    __rdivmod__ = _reflected(divmod)
    __rpow__ = _reflected(operator.pow)
    __rlshift__ = _reflected(operator.lshift)
    __rrshift__ = _reflected(operator.rshift)
    __rand__ = _reflected(operator.and_)
    __ror__ = _reflected(operator.or_)
    __rxor__ = _reflected(operator.xor)

    __eq__ = _binary(operator.eq)
    __ne__ = _binary(operator.ne)
    __lt__ = _binary(operator.lt)
    __le__ = _binary(operator.le)
    __gt__ = _binary(operator.gt)
    __ge__ = _binary(operator.ge)
    __getitem__ = _binary(operator.getitem)

    __hash__ = object.__hash__

    def __pow__(self, exponent: Any, modulo: Any = None) -> Any:
        if modulo is None:
            return self._operate(operator.pow, self, exponent)
        return self._operate(pow, self, exponent, modulo)

    def __round__(self, digits: int | None = None) -> Any:
        return self._operate(round, self, digits)
