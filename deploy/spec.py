"""What a local cluster is made of, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..base.credentials import Credentials
from .sizing import Sizing
from .sockets import is_loopback


@dataclass(frozen=True, slots=True)
class Spec:
    """A local cluster as asked for, with everything filled in.

    Parameters
    ----------
    name : str
        Of the cluster.
    sizing : Sizing
        Workers, their threads and memory.
    host : str
        Where scheduler and workers listen: encrypted, if other machines can reach that.
    scheduler_port : int
        0 for any free one.
    dashboard : tuple of str and int, optional
        Host and port of the dashboard; None for no dashboard.
    resources : mapping of str to float
        What each worker has of abstract resources.
    log_level : str
        For the logs of the processes.
    local_directory : str, optional
        Where workers put temporary files.
    credentials : Credentials
        Of this cluster.
    shared_memory : bool
        Whether large values move within this machine without the network.
    journal : int
        Bytes for the scheduler's journal.
    memory_pause : float
        The part of its memory limit above which a worker starts nothing new; 0 for never.
    client_grace : float
        Seconds that a client which has lost its connection is expected back.
    """

    name: str
    sizing: Sizing
    host: str
    scheduler_port: int
    dashboard: tuple[str, int] | None
    resources: Mapping[str, float]
    log_level: str
    local_directory: str | None
    credentials: Credentials
    shared_memory: bool = True
    journal: int = 0
    memory_pause: float = 0.0
    client_grace: float = 30.0

    @property
    def tls(self) -> bool:
        """Whether other machines can listen in, so that connections must be encrypted."""
        return not is_loopback(self.host)

    def worker_options(self, name: str) -> dict[str, Any]:
        """The options of one worker, as keywords of ``Worker``."""
        return {
            "name": name,
            "nthreads": self.sizing.threads,
            "memory_limit": self.sizing.memory_limit,
            "resources": dict(self.resources),
            "local_directory": self.local_directory,
            "shared_memory": self.shared_memory,
            "memory_pause": self.memory_pause,
        }
