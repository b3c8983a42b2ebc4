"""The process at the other end: runs what it is sent until the pipe closes.

It is started with a command of its own rather than by ``multiprocessing``, so scripts need no ``__main__`` guard: what
they define is pickled by value.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any, BinaryIO

from .pipes import receive, send
from .serving import serve


def main(read_fd: int, write_fd: int) -> None:
    """Serve requests from ``read_fd``, answer on ``write_fd``; standard input and output stay the tasks'."""
    # Ctrl-C goes to the whole foreground group; our parent gets it too, and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(read_fd, "rb") as requests, open(write_fd, "wb") as replies:
        _serve_all(requests, replies)
        # Whoever has closed the pipe waits for us; taking the interpreter apart would only take time.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it any more, or a task has closed it
                stream.flush()
        os._exit(0)


def _serve_all(requests: BinaryIO, replies: BinaryIO) -> None:
    functions: dict[bytes, Any] = {}
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
