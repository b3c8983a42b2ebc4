"""How much memory a value holds: exact for buffers and arrays, estimated from a sample for containers, never raises."""

from __future__ import annotations

import sys
from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

#: Items looked at in a container, by depth of nesting; deeper ones are not looked into. At most 150 items in all.
_SAMPLES: Final = (10, 5, 3)

_getsizeof: Final = sys.getsizeof


def sizeof(value: object) -> int:
    """Estimate the memory that a value holds, in bytes.

    Arrays, frames and everything else with an integer ``nbytes`` count as that; containers and plain objects are
    estimated from a few of their items, so the cost does not grow with their length.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    int
        At least 0.

    Examples
    --------
    >>> sizeof(b"x" * 1000) - sizeof(b"")
    1000
    >>> 1_000_000 < sizeof([bytes(100_000) for _ in range(10)]) < 1_002_000
    True
    """
    measure = _EXACT.get(type(value))
    if measure is not None:
        return measure(value)
    try:
        return max(0, int(_measure(value, 0)))
    except Exception:  # noqa: BLE001 (attributes of users' objects may raise anything)
        return object.__sizeof__(value)


def _measure(value: Any, depth: int) -> int:
    kind = type(value)
    measure = _EXACT.get(kind)
    if measure is not None:
        return measure(value)
    container = _CONTAINERS.get(kind)
    if container is not None:
        return _getsizeof(value) + container(value, depth)
    if kind.__module__.startswith("pandas."):
        usage = _pandas_nbytes(value, depth)
        if usage is not None:
            return usage
    nbytes = getattr(value, "nbytes", None)
    if type(nbytes) is int or (nbytes is not None and hasattr(nbytes, "__index__")):
        return _array_nbytes(value, int(nbytes), depth)
    size = _getsizeof(value)
    if isinstance(value, dict):
        size += _mapping(value, depth)
    elif isinstance(value, (list, tuple)):
        size += _sequence(value, depth)
    attributes = getattr(value, "__dict__", None)
    if type(attributes) is dict and not isinstance(value, type):
        size += _getsizeof(attributes) + _attributes(attributes, depth)
    return size


def _sequence(value: Any, depth: int) -> int:
    if depth >= len(_SAMPLES) or not value:
        return 0
    step = max(1, len(value) // _SAMPLES[depth])
    return _items(value[::step] if len(value) > _SAMPLES[depth] else value, len(value), depth)


def _iterable(value: Any, depth: int) -> int:
    return _items(value, len(value), depth) if depth < len(_SAMPLES) else 0


def _mapping(value: Any, depth: int) -> int:
    if depth >= len(_SAMPLES):
        return 0
    return _items(value.keys(), len(value), depth) + _items(value.values(), len(value), depth)


def _attributes(attributes: dict[str, Any], depth: int) -> int:
    """All attributes of an object: they are few and unlike each other, so a sample says nothing."""
    if depth >= len(_SAMPLES):
        return 0
    return sum(_measure(item, depth + 1) for item in islice(attributes.values(), 50))


def _items(items: Iterable[Any], count: int, depth: int) -> int:
    """Scale a sample up, unless it shows the same object twice: then the items share their memory."""
    sample = list(islice(items, _SAMPLES[depth]))
    distinct = {id(item): item for item in sample}
    total = sum(_measure(item, depth + 1) for item in distinct.values())
    return total * count // len(sample) if sample and len(distinct) == len(sample) else total


def _array_nbytes(value: Any, nbytes: int, depth: int) -> int:
    """An array with a stride of 0 repeats memory; one of objects holds pointers only."""
    strides, shape = getattr(value, "strides", None), getattr(value, "shape", None)
    if isinstance(strides, tuple) and isinstance(shape, tuple) and 0 in strides:
        for stride, length in zip(strides, shape, strict=True):
            if stride == 0 and length > 1:
                nbytes //= length
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "hasobject", False) and depth < len(_SAMPLES) and getattr(value, "size", 0):
        nbytes += _items(value.flat, value.size, depth)
    return nbytes


def _pandas_nbytes(value: Any, depth: int) -> int | None:
    usage = getattr(value, "memory_usage", None)
    if usage is None or isinstance(value, type):
        return None
    shallow = usage()
    nbytes = int(shallow.sum()) if hasattr(shallow, "sum") else int(shallow)
    columns = [value[name] for name in value.columns] if hasattr(value, "columns") else [value]
    for column in columns:
        if getattr(column.dtype, "hasobject", False) and len(column) and depth < len(_SAMPLES):
            nbytes += _items(column, len(column), depth)
    return nbytes


_EXACT: Final[dict[type, Callable[[Any], int]]] = {
    **dict.fromkeys((int, float, bool, complex, str, bytes, bytearray, array, type(None), range, slice), _getsizeof),
    memoryview: lambda value: value.nbytes,
}
_CONTAINERS: Final[dict[type, Callable[[Any, int], int]]] = {
    list: _sequence,
    tuple: _sequence,
    **dict.fromkeys((set, frozenset, deque), _iterable),
    **dict.fromkeys((dict, defaultdict, OrderedDict), _mapping),
}
