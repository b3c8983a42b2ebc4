"""One child process of ours: started with its configuration in a pipe, bound to our life, and ended within a deadline.

A child is ``python -m MODULE --config-fd N``: nothing of the user's program is imported or forked, so scripts need no
``if __name__ == "__main__"`` guard. Secrets travel in memory that only the child inherits, never in argv or the
environment, which other users and the child's own children can read.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from ..base.errors import UsageError
from ..worker.server.board import Board
from .echo import Echo

#: Seconds a child may take to close after SIGTERM, before it is killed.
GRACE_S: Final = 5.0
#: Bytes of captured output that are kept for error reports.
OUTPUT_BYTES_KEPT: Final = 16 * 1024

#: Write ends of lifelines. A fork of the user's program must not hold them, or the children would outlive us by it.
_lifelines: set[int] = set()


def _forget_lifelines() -> None:
    for descriptor in _lifelines:
        with suppress(OSError):
            os.close(descriptor)
    _lifelines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lifelines)


def refuse_inside_spawned_import(what: str) -> None:
    """Refuse to start processes while a child of the user's own is importing the user's script.

    ``multiprocessing`` with the methods spawn and forkserver imports the script again in every child. A script that
    starts a cluster at its top level would start one per child, and each of those again.

    Parameters
    ----------
    what : str
        What was about to be made, for the message.

    Raises
    ------
    UsageError
        This process is such a child and has not finished importing.
    """
    module = sys.modules.get("multiprocessing.process")
    if module is not None and getattr(module.current_process(), "_inheriting", False):
        raise UsageError(
            f"{what} was called while multiprocessing imports your script again in a child process; "
            'put the code that starts things under `if __name__ == "__main__":`'
        )


def describe_exit(code: int) -> str:
    """Say how a process ended.

    Examples
    --------
    >>> describe_exit(3)
    'exited with code 3'
    >>> describe_exit(-9)
    'was killed by SIGKILL (if nobody sent it: by the kernel, out of memory)'
    >>> describe_exit(-11)
    'was killed by SIGSEGV (a crash in compiled code)'
    """
    if code >= 0:
        return f"exited with code {code}"
    try:
        number = signal.Signals(-code)
    except ValueError:
        return f"was killed by signal {-code}"
    hint = {
        signal.SIGKILL: " (if nobody sent it: by the kernel, out of memory)",
        signal.SIGSEGV: " (a crash in compiled code)",
        signal.SIGBUS: " (a crash in compiled code, or no room in a mapped file)",
        signal.SIGABRT: " (a crash in compiled code)",
    }.get(number, "")
    return f"was killed by {number.name}{hint}"


class ChildProcess:
    """A running ``python -m module --config-fd N``.

    Parameters
    ----------
    module : str
        What to run.
    config : mapping
        Handed over as JSON; ``lifeline_fd`` is added: a pipe whose write end only this process holds, so that the
        child sees its end of file when this process is gone, however it went.
    name : str
        For messages.
    sockets : mapping of str to socket
        Sockets to inherit; the number of each is added to the configuration under its name.
    capture : bool
        Keep the last of what the child writes for ``output`` instead of letting it write to our own stdout and stderr.
    tells_ready : bool
        Give the child ``ready_fd``, to which it writes "1" when it is at work and "0" when it ends of its own accord: see
        ``was_ready`` and ``was_cut_short``.
    has_board : bool
        Share memory with the child, ``board``: it is given ``board_fd``.
    echo : bool
        Keep the last of what the child writes to stderr for ``output``, and pass it on to ours.
    niceness : int
        How much the child yields to others, 0 to 19.
    environment : mapping of str to str
        Defaults for variables that are not set.

    Notes
    -----
    The child leads a process group of its own: Ctrl-C in the terminal is ours to handle, and what its tasks started can
    be killed with it.
    """

    def __init__(
        self,
        module: str,
        config: Mapping[str, Any],
        *,
        name: str,
        sockets: Mapping[str, socket.socket] | None = None,
        capture: bool = False,
        echo: bool = False,
        tells_ready: bool = False,
        has_board: bool = False,
        niceness: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._output: deque[bytes] = deque()
        self._output_fd = -1
        #: whether what the child writes is kept for ``output`` and shown nowhere else
        self.captures = capture
        self._echo = Echo(name) if echo else None
        self._told = b""
        self._ready_fd, ready_end = os.pipe() if tells_ready else (-1, -1)
        inherited = {key: sock.fileno() for key, sock in (sockets or {}).items()}
        if tells_ready:
            inherited["ready_fd"] = ready_end
        #: where the child leaves signs of life
        self.board: Board | None = None
        if has_board:
            inherited["board_fd"] = Board.make()
            self.board = Board(inherited["board_fd"])
        lifeline_read, self._lifeline = os.pipe()
        _lifelines.add(self._lifeline)
        config_fd = -1
        try:
            config_fd = _readable({**config, **inherited, "lifeline_fd": lifeline_read})
            # -P: the current directory is not where the child's modules come from.
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", module, "--config-fd", str(config_fd)],
                pass_fds=(config_fd, lifeline_read, *inherited.values()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else None,
                stderr=subprocess.STDOUT if capture else None if self._echo is None else self._echo.child_end,
                env={**(environment or {}), **os.environ},
                process_group=0,
            )
        except BaseException:
            self._drop_lifeline()
            self._close_ready()
            if self._echo is not None:
                self._echo.abandon()
            raise
        finally:
            os.close(lifeline_read)
            if ready_end >= 0:
                os.close(ready_end)
            if has_board:
                os.close(inherited["board_fd"])
            if config_fd >= 0:
                os.close(config_fd)
        if self._echo is not None:
            self._echo.start()
        self.pid = self._popen.pid
        if niceness:
            with suppress(OSError):  # gone already, or not permitted: then it runs as it is
                os.setpriority(os.PRIO_PROCESS, self.pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
        if capture:
            self._start_capture()

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the number of the signal that killed it, or None while it runs."""
        return self._popen.poll()

    @property
    def output(self) -> str:
        """The last of what a child with ``capture`` or ``echo`` wrote."""
        if self._echo is not None:
            return self._echo.text
        return b"".join(self._output).decode("utf-8", "replace")

    @property
    def was_ready(self) -> bool:
        """Whether a child that ``tells_ready`` and has ended was ever at work."""
        return b"1" in self._told

    @property
    def was_cut_short(self) -> bool:
        """Whether such a child was ended while at work, so that its exit code is not ours: a task may call os._exit."""
        return self._told == b"1"

    async def wait(self) -> int:
        """Wait until the child has ended; its ``returncode``."""
        while (code := self._popen.poll()) is None:
            await _ended(self.pid)
        self._release()
        return code

    async def last_output(self) -> str:
        """``output`` of a child that has ended, once all of it has arrived."""
        if self._echo is not None:
            await self._echo.finish()
        return self.output

    def terminate(self) -> None:
        """Ask the child to close (SIGTERM)."""
        self._popen.terminate()

    def kill(self) -> None:
        """End the child and what it started, at once (SIGKILL to its process group)."""
        if self._popen.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace: float = GRACE_S, *, patience: float = 0.0) -> int:
        """End the child; its ``returncode``.

        Parameters
        ----------
        grace : float
            Seconds from SIGTERM to SIGKILL.
        patience : float
            Seconds before SIGTERM, for a child that has been told to close in another way.
        """
        for seconds, insist in ((patience, self.terminate), (grace, self.kill)):
            if seconds > 0:
                try:
                    return await asyncio.wait_for(self.wait(), seconds)
                except TimeoutError:
                    pass
            insist()
        return await self.wait()

    def stop_now(self, grace: float = 1.0) -> None:
        """``stop`` for when no loop runs any more: blocks."""
        self.terminate()
        try:
            self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()
            self._popen.wait()
        self._release()

    def _start_capture(self) -> None:
        assert self._popen.stdout is not None
        self._output_fd = self._popen.stdout.fileno()
        os.set_blocking(self._output_fd, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._output_fd, self._read_output)

    def _read_output(self) -> None:
        try:
            data = os.read(self._output_fd, OUTPUT_BYTES_KEPT)
        except BlockingIOError:
            return
        if not data:
            self._stop_capture()
            return
        self._output.append(data)
        while sum(map(len, self._output)) - len(self._output[0]) > OUTPUT_BYTES_KEPT:
            self._output.popleft()

    def _stop_capture(self) -> None:
        if self._output_fd >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._output_fd)
            self._output_fd = -1
            assert self._popen.stdout is not None
            self._popen.stdout.close()

    def _close_ready(self) -> None:
        if self._ready_fd >= 0:
            os.close(self._ready_fd)
            self._ready_fd = -1

    def _release(self) -> None:
        self._drop_lifeline()
        if self._ready_fd >= 0:
            os.set_blocking(self._ready_fd, False)  # the child's own children may hold the other end
            with suppress(BlockingIOError):
                self._told = os.read(self._ready_fd, 2)
            self._close_ready()
        if self._output_fd >= 0:
            self._read_output()  # what it wrote last, which usually says why it ended
            self._stop_capture()

    def _drop_lifeline(self) -> None:
        if self._lifeline in _lifelines:
            _lifelines.discard(self._lifeline)
            os.close(self._lifeline)

    def __repr__(self) -> str:
        code = self.returncode
        return f"<ChildProcess {self.name}: pid {self.pid}, {'running' if code is None else describe_exit(code)}>"


def _readable(config: Mapping[str, Any]) -> int:
    """A descriptor from which ``config`` can be read once; it exists in memory only."""
    data = json.dumps(config).encode()
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("myscheduler-config")
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor
    descriptor, write_end = os.pipe()
    with open(write_end, "wb") as file:  # far below what a pipe holds without a reader
        file.write(data)
    return descriptor


async def _ended(pid: int) -> None:
    """Return when the child has probably ended; without polling where the system can tell."""
    if not hasattr(os, "pidfd_open"):
        await asyncio.sleep(0.05)
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    descriptor = os.pidfd_open(pid)
    loop.add_reader(descriptor, _set, ended)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
