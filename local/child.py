"""The process at the other end: runs what it is sent until the pipe closes.

It is started with a command of its own rather than by ``multiprocessing``, so scripts need no ``__main__`` guard: what
they define is pickled by value.
"""

from __future__ import annotations

import signal
from typing import Any

from .pipes import receive, send
from .remote import serve


def main(read_fd: int, write_fd: int) -> None:
    """Serve requests from ``read_fd``, answer on ``write_fd``; standard input and output stay the tasks'."""
    # Ctrl-C goes to the whole foreground group; our parent gets it too, and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    functions: dict[bytes, Any] = {}
    with open(read_fd, "rb") as requests, open(write_fd, "wb") as replies:
        while True:
            try:
                request = receive(requests)
            except EOFError:
                return
            reply = serve(request, functions)
            del request
            try:
                send(replies, reply)
            except BrokenPipeError:
                return
            del reply
