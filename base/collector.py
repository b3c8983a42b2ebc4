"""Python's garbage collector, where there are so many objects that it stops the program."""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache

_lock = threading.Lock()
_pauses = 0
_was_enabled = False


@contextmanager
def paused() -> Iterator[None]:
    """Let the collector wait for the end of this block, as what is built in it is not garbage.

    Whoever makes hundreds of thousands of objects that all stay has the collector go through all of them several times,
    which takes as long as making them. Blocks may nest, and be entered by several threads at a time. A collector that
    is off stays off.

    Examples
    --------
    >>> with paused():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    global _pauses, _was_enabled
    with _lock:
        if not _pauses:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if not _pauses and _was_enabled:
                gc.enable()


def spare(objects: Iterable[object]) -> None:
    """Have the collector go through these objects never again.

    They are freed as always when the last reference to them goes. Only a cycle that leads through one of them is not found, so
    this is for objects that are in none, or whose cycles are broken by whoever made them.

    Examples
    --------
    >>> box = ["in no cycle"]
    >>> spare([box])
    >>> gc.is_tracked(box)
    False
    """
    deque(map(_untracker(), objects), maxlen=0)


@cache
def _untracker() -> Callable[[object], None]:
    """``PyObject_GC_UnTrack`` of Python's C interface, which the module ``gc`` does not offer."""
    import ctypes  # which takes a few milliseconds, and most programs never get here

    # A function object of our own: what is set on that of ``ctypes.pythonapi`` would be set for everybody.
    return ctypes.PYFUNCTYPE(None, ctypes.py_object)(("PyObject_GC_UnTrack", ctypes.pythonapi))
