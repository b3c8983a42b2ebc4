"""Python's garbage collector, while much is being built."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
