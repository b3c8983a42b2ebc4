"""Never outlive the process that started us.

The parent holds the write end of a pipe and never writes. When it is gone, however it went, the read end becomes readable.
The kernel is asked to send SIGIO then, whose default action ends us at once: no Python code has to run, so a task that
holds the interpreter lock in C cannot keep the process alive.
"""

from __future__ import annotations

import fcntl
import os
import signal
from typing import Final

_O_ASYNC: Final = getattr(os, "O_ASYNC", 0o20000)  # Python 3.11 does not export it on every system


def bind_life_to(descriptor: int) -> bool:
    """End this process when the other end of a pipe is closed.

    Parameters
    ----------
    descriptor : int
        Read end of a pipe whose write end is held by nobody but the process to depend on.

    Returns
    -------
    bool
        False where the system cannot do it; then the caller watches the descriptor itself.
    """
    try:
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _O_ASYNC | os.O_NONBLOCK)
    except (AttributeError, OSError, ValueError):
        return False
    try:
        if os.read(descriptor, 1) == b"":  # it was closed before the kernel was told
            os.kill(os.getpid(), signal.SIGKILL)
    except BlockingIOError:
        pass
    return True
