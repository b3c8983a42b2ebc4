"""What the client needs from parts that it may not import: set by the package's front door, once.

``deploy`` and ``worker.server`` stand beside or above the client; these hooks point at them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from ...base.credentials import Credentials


@dataclass(slots=True)
class WorkerContext:
    """What a task needs to open a client: one object per worker, so that its tasks share the client.

    Parameters
    ----------
    scheduler_address : str
        The worker's scheduler.
    credentials : Credentials, optional
        The worker's own; a client can only be opened if they hold the client secret (or none are needed: ``inproc://``).
    cache : dict
        Empty at first; ``get_client`` keeps the client under ``"client"``. Whoever closes the worker closes that.
    """

    scheduler_address: str
    credentials: Credentials | None
    cache: dict[str, Any] = field(default_factory=dict)


#: Starts a cluster for ``Client()``: called with ``asynchronous`` and the user's keywords. The result has
#: ``scheduler_address``, ``credentials``, ``close()``; with ``asynchronous=True`` it is awaitable and so is ``close()``.
cluster_factory: Callable[..., Any] | None = None


def _no_worker() -> WorkerContext | None:
    return None


#: The worker whose task is running in this thread, if any.
current_worker: Callable[[], WorkerContext | None] = _no_worker

#: Entered around every blocking wait of a client. Inside a task it gives the thread's slot to others meanwhile.
around_wait: Callable[[], AbstractContextManager[Any]] = nullcontext


_ROOT: Final = __name__.partition(".")[0]


def connect_worker() -> None:
    """Have the hooks set in a worker's process, where unpickled tasks reach us without passing through the front door."""
    if current_worker is _no_worker and f"{_ROOT}.worker.server" in sys.modules:
        # The front door sets the hooks when it is asked for one of our names.
        getattr(import_module(_ROOT), "Client")  # noqa: B009 (for its effect)
