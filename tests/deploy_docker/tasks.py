"""Tasks. The containers do not have this module, so its functions travel whole, as those of a script do."""

from __future__ import annotations

import socket
import sys
import time
import uuid

import cloudpickle

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def square(x: int) -> int:
    """Quick and small."""
    return x * x


def slow_square(x: int) -> int:
    """Slow enough to be interrupted."""
    time.sleep(0.02)
    return x * x


def blob(seed: int, nbytes: int = 1_000_000) -> bytes:
    """Too large to travel with the news."""
    return bytes([seed % 256]) * nbytes


def host_of(_: int) -> str:
    """Where this runs."""
    time.sleep(0.01)
    return socket.gethostname()


def run_id(_: int) -> tuple[str, bytes]:
    """Names this run of the task; large enough to stay at the worker."""
    return uuid.uuid4().hex, bytes(100_000)


def first(pair: tuple[str, bytes]) -> str:
    """The name."""
    return pair[0]
