"""Everything myscheduler raises on purpose.

Four roots, by whose fault it is:

- ``UsageError``: you called us wrongly; fix the call.
- ``ClusterError``: the world failed (a worker died, an address is unreachable).
- ``ProtocolError``: a peer broke the rules of the wire; its connection is closed.
- ``InternalError``: our own bug; please report it.
"""

from __future__ import annotations

import concurrent.futures


class MySchedulerError(Exception):
    """Root of all errors that myscheduler raises itself. Errors of users' tasks are raised as they are."""


# ---- misuse ---------------------------------------------------------------------------------------------------------


class UsageError(MySchedulerError):
    """The call cannot mean anything; the message says what to change."""


class KeyTypeError(UsageError, TypeError):
    """A key has a type that cannot name a task."""


class GraphError(UsageError, ValueError):
    """A graph cannot be run: a cycle, a missing key, a key defined twice."""


class SerializationError(UsageError, TypeError):
    """A function, an argument or a result cannot be pickled."""


class NotAResultError(UsageError, TypeError):
    """A task returned something that is no value yet: a coroutine or a generator."""


class VersionMismatchError(UsageError, RuntimeError):
    """Peers run versions that cannot work together."""


# ---- the world ------------------------------------------------------------------------------------------------------


class ClusterError(MySchedulerError):
    """The cluster could not do what was asked."""


class ConnectionFailedError(ClusterError, ConnectionError):
    """An address cannot be reached, or what answers there is no myscheduler."""


class AuthenticationError(ClusterError, PermissionError):
    """A credential is missing, wrong, or may not do this."""


class ClosedError(ClusterError, RuntimeError):
    """The client, cluster or worker has been closed."""


class KilledWorkerError(ClusterError):
    """A task was running on several workers that died, so it is not tried again."""


class TaskTimeoutError(ClusterError, TimeoutError):
    """A run of a task took longer than the task's ``timeout``."""


class LostDataError(ClusterError):
    """Data that cannot be recomputed (it was scattered) is gone with its last holder."""


class InsufficientMemoryError(ClusterError, MemoryError):
    """The inputs of a task do not fit into any worker that may run it."""


class CancelledError(MySchedulerError, concurrent.futures.CancelledError):
    """The task was cancelled; the message says by whom and why."""


# ---- the wire -------------------------------------------------------------------------------------------------------


class ProtocolError(MySchedulerError):
    """A peer sent bytes or messages that the protocol does not allow."""


# ---- us -------------------------------------------------------------------------------------------------------------


class InternalError(MySchedulerError):
    """A broken invariant of myscheduler itself."""
