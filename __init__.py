"""myscheduler: a distributed task scheduler for Python.

The front door: the public names, loaded when they are first used, so that ``import myscheduler`` stays cheap and the
processes of a cluster load only what they need.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base.version import VERSION as __version__

if TYPE_CHECKING:
    from .base import config
    from .base.errors import (
        AuthenticationError,
        CancelledError,
        ClosedError,
        ClusterError,
        ConnectionFailedError,
        GraphError,
        InsufficientMemoryError,
        KeyTypeError,
        KilledWorkerError,
        LostDataError,
        MySchedulerError,
        NotAResultError,
        SerializationError,
        TaskTimeoutError,
        UsageError,
        VersionMismatchError,
    )
    from .client.api import (
        ALL_COMPLETED,
        FIRST_COMPLETED,
        FIRST_EXCEPTION,
        Client,
        Future,
        as_completed,
        default_client,
        fire_and_forget,
        get_client,
        progress,
        wait,
    )
    from .deploy.local import LocalCluster
    from .graph.annotations import annotate
    from .graph.compute import compute, persist
    from .graph.delayed import Delayed, delayed
    from .graph.retry import Retry
    from .graph.tokenize import tokenize
    from .graph.visualize import visualize
    from .local.callbacks import Callback
    from .local.progress import ProgressBar
    from .worker.server.context import cancelled, check_cancelled, get_task_key, get_worker, rejoin, secede

_HOMES = {
    ".base.errors": (
        "AuthenticationError",
        "CancelledError",
        "ClosedError",
        "ClusterError",
        "ConnectionFailedError",
        "GraphError",
        "InsufficientMemoryError",
        "KeyTypeError",
        "KilledWorkerError",
        "LostDataError",
        "MySchedulerError",
        "NotAResultError",
        "SerializationError",
        "TaskTimeoutError",
        "UsageError",
        "VersionMismatchError",
    ),
    ".client.api": (
        "ALL_COMPLETED",
        "FIRST_COMPLETED",
        "FIRST_EXCEPTION",
        "Client",
        "Future",
        "as_completed",
        "default_client",
        "fire_and_forget",
        "get_client",
        "progress",
        "wait",
    ),
    ".deploy.local": ("LocalCluster",),
    ".graph.annotations": ("annotate",),
    ".graph.compute": ("compute", "persist"),
    ".graph.delayed": ("Delayed", "delayed"),
    ".graph.retry": ("Retry",),
    ".graph.tokenize": ("tokenize",),
    ".graph.visualize": ("visualize",),
    ".local.callbacks": ("Callback",),
    ".local.progress": ("ProgressBar",),
    ".worker.server.context": (
        "cancelled",
        "check_cancelled",
        "get_task_key",
        "get_worker",
        "rejoin",
        "secede",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "AuthenticationError",
    "Callback",
    "CancelledError",
    "Client",
    "ClosedError",
    "ClusterError",
    "ConnectionFailedError",
    "Delayed",
    "Future",
    "GraphError",
    "InsufficientMemoryError",
    "KeyTypeError",
    "KilledWorkerError",
    "LocalCluster",
    "LostDataError",
    "MySchedulerError",
    "NotAResultError",
    "ProgressBar",
    "Retry",
    "SerializationError",
    "TaskTimeoutError",
    "UsageError",
    "VersionMismatchError",
    "__version__",
    "annotate",
    "as_completed",
    "cancelled",
    "check_cancelled",
    "compute",
    "config",
    "default_client",
    "delayed",
    "fire_and_forget",
    "get_client",
    "get_task_key",
    "get_worker",
    "persist",
    "progress",
    "rejoin",
    "secede",
    "tokenize",
    "visualize",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name == "config":
        value = import_module(".base.config", __name__)
    else:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'myscheduler' has no attribute {name!r}")
        _connect(home)
        value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def _connect(home: str) -> None:
    """Show parts of the package others that they may not import."""
    if home.startswith(".graph"):
        import_module(".local", __name__).register_all()
    if home == ".client.api" or f"{__name__}.worker.server" in sys.modules:
        import_module(".deploy.connect", __name__).connect_client()


def __dir__() -> list[str]:
    return __all__
