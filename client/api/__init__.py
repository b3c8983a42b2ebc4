"""The users' side of a cluster: ``Client``, ``Future``, ``as_completed``, ``wait``, blocking or asynchronous."""

from __future__ import annotations

from .client import Client
from .completed import as_completed
from .defaults import default_client, get_client
from .futures import Future, fire_and_forget
from .waiting import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, DoneAndNotDone, wait
from .watching import progress

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "Client",
    "DoneAndNotDone",
    "Future",
    "as_completed",
    "default_client",
    "fire_and_forget",
    "get_client",
    "progress",
    "wait",
]
