"""References to results inside arguments.

A ``TaskRef`` stands for the result of another task. While a call is being pickled, every reference met at any depth
(in lists, dataclasses, closures, objects of the user) is written down as a dependency; while it is unpickled on the
worker, the reference is replaced by the value. Both work through ``__reduce_ex__``, so nothing is paid for arguments
without references, and no container type has to be known to us.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, SupportsIndex

from .errors import UsageError
from .keys import Key


class _Context(threading.local):
    collected: dict[Key, TaskRef] | None = None
    inputs: Mapping[Key, Any] | None = None


_context = _Context()


class TaskRef:
    """Stands for the result of the task ``key`` inside the arguments of another task.

    Parameters
    ----------
    key : Key
        The key of the task whose result is meant.

    Examples
    --------
    >>> import pickle
    >>> with collecting() as found:
    ...     data = pickle.dumps({"a": [TaskRef("x")]})
    >>> list(found)
    ['x']
    """

    __slots__ = ("__weakref__", "key")

    key: Key

    def __init__(self, key: Key) -> None:
        self.key = key

    def __repr__(self) -> str:
        return f"TaskRef({self.key!r})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        collected = _context.collected
        if collected is None:
            return self.reduce_outside_call()
        key = self.key
        collected.setdefault(key, self)
        return (_resolve, (key,))

    def reduce_outside_call(self) -> tuple[Any, ...]:
        """How to pickle the reference itself, when it is not an argument of a task."""
        return (TaskRef, (self.key,))


@contextmanager
def collecting() -> Iterator[dict[Key, TaskRef]]:
    """Collect the references that are pickled in this block by this thread, in order of first appearance."""
    outer, _context.collected = _context.collected, {}
    try:
        yield _context.collected
    finally:
        _context.collected = outer


def _resolve(key: Key) -> Any:
    inputs = _context.inputs
    if inputs is None:
        raise UsageError(f"the arguments of a task that needs {key!r} were unpickled outside of a worker")
    return inputs[key]
