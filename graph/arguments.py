"""Finding and replacing references inside arguments, in the containers that everybody uses.

The client lets pickle do this (see ``base/refs.py``), which reaches into any object; building graphs and running them in
this process cannot, so they look into lists, tuples, sets, dicts (subclasses included), dataclasses and slices.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any, Final, Protocol

from ..base.errors import UsageError
from ..base.keys import Key, validate_key
from ..base.refs import TaskRef

#: Types that hold nothing; checked first, because most arguments are of these.
ATOMS: Final = frozenset(
    {int, float, str, bytes, bool, type(None), complex, range, bytearray, type(Ellipsis), type}
    | {types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType}
)
_SEQUENCES: Final = (list, tuple, set, frozenset)
_DICT: Final[dict[Any, Any]] = {}
#: Views and iterators that could neither be pickled nor looked into, but whose meaning is a list.
_VIEWS: Final = (_DICT.keys(), _DICT.values(), _DICT.items())
_LISTABLE: Final = frozenset(
    {type(view) for view in _VIEWS} | {type(iter(items)) for items in (*_VIEWS, [0], (0,), {0})}
)


def find_refs(args: Iterable[Any], kwargs: Mapping[str, Any] | None = None) -> dict[Key, TaskRef]:
    """Find the references in arguments, at any depth, in order of first appearance.

    Parameters
    ----------
    args : iterable
        Positional arguments.
    kwargs : mapping, optional
        Keyword arguments.

    Returns
    -------
    dict of Key to TaskRef
        One reference per key.

    Examples
    --------
    >>> list(find_refs([1, {"a": (TaskRef("x"), TaskRef("y"))}, TaskRef("x")]))
    ['x', 'y']
    """
    found: dict[Key, TaskRef] = {}
    for arg in args:
        if type(arg) not in ATOMS:
            _find(arg, found)
    if kwargs:
        for arg in kwargs.values():
            if type(arg) not in ATOMS:
                _find(arg, found)
    return found


def _find(arg: Any, found: dict[Key, TaskRef]) -> None:
    stack = [arg]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, TaskRef):
            try:
                found.setdefault(item.key, item)
            except TypeError:
                validate_key(item.key)
                raise
            continue
        if id(item) in seen:
            continue
        inner = _children(item)
        if inner:
            seen.add(id(item))
            stack += [child for child in reversed(inner) if type(child) not in ATOMS]


def _children(item: Any) -> list[Any]:
    """What a container holds; for all else, nothing."""
    if isinstance(item, _SEQUENCES):
        if ATOMS.issuperset(map(type, item)):
            return []
        # A set has no order of its own that would be the same tomorrow.
        return sorted(item, key=repr) if isinstance(item, (set, frozenset)) else list(item)
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if type(item) is slice:
        return [item.start, item.stop, item.step]
    if _is_dataclass(item):
        return [getattr(item, field.name) for field in fields(item) if hasattr(item, field.name)]
    return []


def _is_dataclass(item: Any) -> bool:
    return hasattr(type(item), "__dataclass_fields__")


class Placeholder(Protocol):
    """Stands for a value that is known under its key."""

    key: Any


def bind(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    values: Mapping[Any, Any],
    kind: type[Placeholder] = TaskRef,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Replace references by values in the arguments of one call.

    Parameters
    ----------
    args, kwargs : tuple, dict
        The arguments; they are not changed, containers that hold references are copied.
    values : mapping of Key to object
        What to put in; every reference must be there.
    kind : type
        What is replaced: objects of this class, by the value under their ``key``.

    Returns
    -------
    tuple and dict
        The new arguments.

    Examples
    --------
    >>> bind((1, TaskRef("x")), {"items": [TaskRef("y")]}, {"x": 2, "y": 3})
    ((1, 2), {'items': [3]})
    """
    new = []
    for arg in args:
        if type(arg) in ATOMS:
            new.append(arg)
        elif isinstance(arg, kind):
            new.append(values[arg.key])
        else:
            new.append(substitute(arg, values, kind))
    if kwargs:
        kwargs = {name: arg if type(arg) in ATOMS else substitute(arg, values, kind) for name, arg in kwargs.items()}
    return tuple(new), kwargs


def substitute(item: Any, values: Mapping[Any, Any], kind: type[Placeholder] = TaskRef) -> Any:
    """Replace references inside one argument; what holds none is returned as it is, not copied.

    Raises
    ------
    UsageError
        The argument contains itself, or nests too deeply.

    Examples
    --------
    >>> substitute({"a": (TaskRef("x"), 1)}, {"x": 0})
    {'a': (0, 1)}
    """
    try:
        new = _Replacer(values, kind).replace(item)
    except RecursionError:
        raise UsageError(
            f"an argument of type {type(item).__name__} refers to other tasks but contains itself, or nests too deeply; "
            "pass the references in a flat container"
        ) from None
    return item if new is _SAME else new


class _Same:
    """Says that an item held no reference."""


_SAME: Final = _Same()


class _Replacer:
    __slots__ = ("kind", "values")

    def __init__(self, values: Mapping[Any, Any], kind: type[Placeholder]) -> None:
        self.values = values
        self.kind = kind

    def replace(self, item: Any) -> Any:
        """The item with references replaced, or ``_SAME`` if there was none."""
        if isinstance(item, self.kind):
            return self.values[item.key]
        if isinstance(item, _SEQUENCES):
            new = self.replace_each(item)
            return _SAME if new is None else _rebuild(item, new)
        if isinstance(item, dict):
            return self.replace_dict(item)
        if type(item) is slice:
            new = self.replace_each((item.start, item.stop, item.step))
            return _SAME if new is None else slice(*new)
        if _is_dataclass(item):
            return self.replace_fields(item)
        return _SAME

    def replace_each(self, items: Collection[Any]) -> list[Any] | None:
        """The items with references replaced, or None if there was none."""
        if ATOMS.issuperset(map(type, items)):
            return None
        changed = False
        new = []
        for item in items:
            fresh = _SAME if type(item) in ATOMS else self.replace(item)
            if fresh is _SAME:
                new.append(item)
            else:
                new.append(fresh)
                changed = True
        return new if changed else None

    def replace_dict(self, item: dict[Any, Any]) -> Any:
        keys, inner = self.replace_each(item.keys()), self.replace_each(item.values())
        if keys is None and inner is None:
            return _SAME
        pairs = zip(item if keys is None else keys, item.values() if inner is None else inner, strict=True)
        if type(item) is dict:
            return dict(pairs)
        fresh = copy.copy(item)
        fresh.clear()
        fresh.update(pairs)
        return fresh

    def replace_fields(self, item: Any) -> Any:
        """A copy of a dataclass with new fields: as unpickling would make it, ``__post_init__`` does not run again."""
        fresh = None
        for field in fields(item):
            new = self.replace(getattr(item, field.name, None))
            if new is not _SAME:
                fresh = copy.copy(item) if fresh is None else fresh
                object.__setattr__(fresh, field.name, new)
        return _SAME if fresh is None else fresh


def _rebuild(item: Any, new: list[Any]) -> Any:
    """A container like ``item`` around other contents, without running a subclass's ``__init__``."""
    kind = type(item)
    if kind is list:
        return new
    if isinstance(item, tuple):
        return tuple.__new__(kind, new)
    if isinstance(item, list):
        fresh = copy.copy(item)
        fresh[:] = new
        return fresh
    return kind(new)


def readable_again(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn dict views and iterators of containers, given as arguments, into lists.

    A task may run more than once, and elsewhere; what can be read only once, and here, is no argument for it.

    Raises
    ------
    UsageError
        An argument is a generator.

    Examples
    --------
    >>> readable_again(({"a": 1}.values(), 2), {})
    (([1], 2), {})
    """
    kinds = set(map(type, args))
    kinds.update(map(type, kwargs.values()))
    if types.GeneratorType in kinds:
        raise UsageError(
            "a generator can be read only once, so it cannot be an argument of a task; pass list(...) of it"
        )
    if not kinds.isdisjoint(_LISTABLE):
        args = tuple([list(arg) if type(arg) in _LISTABLE else arg for arg in args])
        kwargs = {name: list(arg) if type(arg) in _LISTABLE else arg for name, arg in kwargs.items()}
    return args, kwargs
