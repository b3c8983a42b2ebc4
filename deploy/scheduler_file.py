"""Finding a scheduler by the file that it writes, which may come later than those who look for it."""

from __future__ import annotations

import os
import time
from typing import Final

from ..base.credentials import SchedulerFile, read_scheduler_file
from ..base.errors import ConnectionFailedError

#: Seconds between two looks.
CHECK_S: Final = 0.1


def wait_for_scheduler_file(path: str, address: str | None = None, timeout: float = 0.0) -> SchedulerFile:
    """Read a scheduler file once it is there and says where the scheduler is; blocks.

    Parameters
    ----------
    path : str
        In a job system, workers may start before the scheduler has written it; credentials that were made beforehand
        name no address until a scheduler uses them.
    address : str, optional
        Of the scheduler; wins over the one in the file, which then need not be there.
    timeout : float
        Seconds to wait.

    Returns
    -------
    SchedulerFile
        With an address.

    Raises
    ------
    ConnectionFailedError
        The file did not come, or names no address.
    AuthenticationError
        The file cannot be trusted.

    Examples
    --------
    >>> import tempfile
    >>> from myscheduler.base.credentials import Credentials, write_scheduler_file
    >>> path = f"{tempfile.mkdtemp()}/cluster.json"
    >>> _ = write_scheduler_file(path, "tcp://10.0.0.5:8786", Credentials.generate())
    >>> wait_for_scheduler_file(path).address
    'tcp://10.0.0.5:8786'
    """
    deadline = time.monotonic() + timeout
    while True:
        last = time.monotonic() >= deadline
        if last or os.path.lexists(path):
            found = read_scheduler_file(path)
            if address or found.address:
                address = found.dial(address) if address else found.address
                return SchedulerFile(address, found.credentials, found.dashboard)
        if last:
            raise ConnectionFailedError(
                f"{path} names no address, for no scheduler has used it yet: start one with "
                f"`myscheduler --scheduler-file {path}`, or give its address"
            )
        time.sleep(CHECK_S)
