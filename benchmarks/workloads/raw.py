"""What a loopback connection carries when nothing but bytes goes through it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

#: The other process: receives the same number of bytes again and again into the same memory, and says when it has them.
_RECEIVER = """
import socket, sys
port, nbytes = map(int, sys.argv[1:])
room = memoryview(bytearray(nbytes))
with socket.create_connection(("127.0.0.1", port)) as link:
    while True:
        got = 0
        while got < nbytes:
            count = link.recv_into(room[got:])
            if not count:
                sys.exit()
            got += count
        link.sendall(b"1")
"""


class RawSocket:
    """Two processes and one blocking TCP connection between them."""

    def __init__(self, nbytes: int) -> None:
        self._data = memoryview(bytearray(nbytes))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            self._process = subprocess.Popen([sys.executable, "-c", _RECEIVER, str(port), str(nbytes)])
            self._link, _ = listener.accept()
        self.rate()  # the first time, the kernel has to find memory

    def rate(self) -> float:
        """GB/s of one transfer."""
        begin = time.perf_counter()
        self._link.sendall(self._data)
        assert self._link.recv(1) == b"1"
        return len(self._data) / (time.perf_counter() - begin) / 1e9

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._link.close()
        self._process.wait(30)
