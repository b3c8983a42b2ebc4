"""Proof that a function which is pickled by value has not changed since it was pickled.

A lambda, a closure or a function of ``__main__`` travels as its code with the values that the code refers to. Pickling
it costs a hundred microseconds and more, so the bytes are kept; but only while everything that went into them is
provably the same. Identity proves it for immutable things; for anything that can change in place (a list, a class of
``__main__``, an object of the user) there is no proof, and the function is pickled again each time.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any, Final

_ABSENT: Final = object()
_SCALARS: Final = frozenset({int, float, complex, str, bytes, bool, type(None), type(...)})
_GLOBAL_OPS: Final = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"})
#: Longer chains of functions or tuples than this are not followed; such a function is pickled each time.
_STEPS_MAX: Final = 1000


def is_by_reference(obj: Any) -> bool:
    """Whether pickle writes a function or class as the name of its module and its own name, and nothing else.

    Examples
    --------
    >>> import operator
    >>> is_by_reference(operator.add), is_by_reference(dict), is_by_reference(lambda: 0), is_by_reference([].append)
    (True, True, False, False)
    """
    if isinstance(obj, BuiltinFunctionType):
        owner = obj.__self__
        if owner is not None and not isinstance(owner, ModuleType):
            return False
    elif not isinstance(obj, (FunctionType, type)):
        return False
    name = getattr(obj, "__module__", None)
    if name == "__main__" or not isinstance(name, str):
        return False
    found: Any = sys.modules.get(name)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


def global_names(code: CodeType) -> Iterator[str]:
    """Names of globals that ``code`` and the functions defined inside it refer to; may repeat."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBAL_OPS:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from global_names(constant)


class _State:
    """What one function was made of when the snapshot was taken."""

    __slots__ = ("cells", "code", "defaults", "function", "globals", "mappings", "names")

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self.code: CodeType = function.__code__
        self.defaults = function.__defaults__
        self.names = (function.__module__, function.__name__, function.__qualname__, function.__doc__)
        self.cells: tuple[tuple[CellType, Any], ...] = tuple(
            (cell, _contents(cell)) for cell in function.__closure__ or ()
        )
        namespace = function.__globals__
        self.globals = tuple((name, namespace.get(name, _ABSENT)) for name in dict.fromkeys(global_names(self.code)))
        # Annotations are only compared, not followed: what they are made of does not change what the function does.
        self.mappings = tuple(
            None if mapping is None else tuple(mapping.items())
            for mapping in (function.__kwdefaults__, function.__dict__, function.__annotations__)
        )

    def values(self) -> Iterator[Any]:
        """Everything that is pickled along with the code."""
        yield from self.defaults or ()
        yield from (value for _, value in self.cells)
        yield from (value for _, value in self.globals if value is not _ABSENT)
        for mapping in self.mappings[:2]:
            yield from (value for _, value in mapping or ())

    def holds(self) -> bool:
        function = self.function
        if function.__code__ is not self.code or function.__defaults__ is not self.defaults:
            return False
        for cell, value in self.cells:
            if _contents(cell) is not value:
                return False
        namespace = function.__globals__
        for name, value in self.globals:
            if namespace.get(name, _ABSENT) is not value:
                return False
        module, name, qualname, doc = self.names
        return (
            function.__module__ is module
            and function.__name__ is name
            and function.__qualname__ is qualname
            and function.__doc__ is doc
            and _same(function.__kwdefaults__, self.mappings[0])
            and _same(function.__dict__, self.mappings[1])
            and _same(function.__annotations__, self.mappings[2])
        )


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _ABSENT


def _same(mapping: dict[str, Any] | None, items: tuple[tuple[str, Any], ...] | None) -> bool:
    if mapping is None or items is None:
        return mapping is None and items is None
    return len(mapping) == len(items) and all(mapping.get(name, _ABSENT) is value for name, value in items)


class Snapshot:
    """The state of a function and of all functions that are pickled with it."""

    __slots__ = ("_module_count", "_states")

    def __init__(self, states: tuple[_State, ...], module_count: int | None) -> None:
        self._states = states
        self._module_count = module_count

    def holds(self) -> bool:
        """Whether pickling now would give the same function again."""
        # Submodules that the code uses are named in the pickle; which ones can only change when modules are loaded.
        if self._module_count is not None and self._module_count != len(sys.modules):
            return False
        return all(state.holds() for state in self._states)


def take(function: FunctionType) -> Snapshot | None:
    """Write down what ``function`` is made of.

    Parameters
    ----------
    function : function
        A function that is pickled by value.

    Returns
    -------
    Snapshot or None
        None if it refers to anything that can change in place.

    Examples
    --------
    >>> step = 1
    >>> snapshot = take(lambda x: x + step)
    >>> snapshot.holds()
    True
    >>> step = 2
    >>> snapshot.holds()
    False
    >>> take(lambda x, seen=[]: seen.append(x)) is None
    True
    """
    states: dict[int, _State] = {}
    has_packages = False
    todo: list[Any] = [function]
    for _ in range(_STEPS_MAX):
        if not todo:
            return Snapshot(tuple(states.values()), len(sys.modules) if has_packages else None)
        value = todo.pop()
        if type(value) in _SCALARS or is_by_reference(value):
            continue
        if type(value) is tuple:
            todo.extend(value)
        elif type(value) is ModuleType and sys.modules.get(value.__name__) is value:
            has_packages = has_packages or hasattr(value, "__path__")
        elif type(value) is FunctionType:
            if id(value) not in states:
                states[id(value)] = state = _State(value)
                todo.extend(state.values())
        else:
            return None
    return None
