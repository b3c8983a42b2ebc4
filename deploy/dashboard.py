"""Where the dashboard runs: a process of its own, behind a socket and a link that exist before it does."""

from __future__ import annotations

import logging
import secrets
import socket
from typing import Any

from ..base.credentials import Credentials
from .keeper import Keeper
from .process import ChildProcess
from .sockets import bracketed, is_wildcard, listen_for_dashboard

logger = logging.getLogger(__name__)

MODULE = "myscheduler.dashboard"
#: Pages can wait; tasks should not.
NICENESS = 10


class DashboardPlace:
    """Binds the dashboard's port at once; starts its process when told to.

    Parameters
    ----------
    host, port : str, int
        Where to listen; if the port is taken, the next free one.

    Notes
    -----
    ``link`` carries the dashboard's own token: whoever has it may look, and nothing else.
    """

    def __init__(self, host: str, port: int) -> None:
        self._socket, self.note = listen_for_dashboard(host, port)
        self._token = secrets.token_urlsafe(24)
        self._keeper: Keeper | None = None
        shown = "127.0.0.1" if is_wildcard(host) else host
        # A wildcard is reached by this machine's name as well.
        self._hosts = [socket.gethostname(), socket.getfqdn()] if is_wildcard(host) else [bracketed(host)]
        self.port: int = self._socket.getsockname()[1]
        self.link = f"http://{bracketed(shown)}:{self.port}/?token={self._token}"

    def start(self, scheduler: str, credentials: Credentials, name: str = "") -> None:
        """Start the process, which calls the cluster ``name``; on a running loop."""
        config: dict[str, Any] = {
            "scheduler": scheduler,
            "credentials": credentials.restricted("observer").to_dict(),
            "token": self._token,
            "allowed_hosts": self._hosts,
            "name": name,
        }

        def spawn() -> ChildProcess:
            sockets = {"listen_fd": self._socket}
            return ChildProcess(MODULE, config, name="dashboard", sockets=sockets, capture=True, niceness=NICENESS)

        self._keeper = Keeper("the dashboard", spawn)
        self._keeper.ready = True
        self._keeper.start()

    @property
    def pid(self) -> int | None:
        """Of the dashboard's process, if it runs."""
        return None if self._keeper is None else self._keeper.pid

    async def stop(self) -> None:
        """End the process and give the port back."""
        if self._keeper is not None:
            await self._keeper.stop(grace=1.0)
        self._socket.close()

    def stop_now(self) -> None:
        """``stop`` for when the loop does not run any more."""
        if self._keeper is not None:
            self._keeper.stop_now()
        self._socket.close()
