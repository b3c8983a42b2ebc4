"""A crowd of strangers at the door of a real scheduler: what it costs, and whether friends still get in.

``python -m tests.security.crowd --connections 100000`` sends strangers who say all kinds of things, many at a time, then
lets ``--silent`` ones stand there and say nothing. With ``--tls`` they meet a scheduler that listens for other machines;
every other one speaks TLS then, but has no certificate of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pickle
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import psutil

from myscheduler import Client
from myscheduler.deploy.sockets import outward_address
from myscheduler.protocol.codec import Encoder
from tests.fuzz.seeds import examples
from tests.fuzz.targets import recorded

#: All that anybody learns without a proof: the greeting.
GREETING_BYTES: Final = 64
#: Strangers at the door at any time.
_AT_ONCE: Final = 1000
_TIMEOUT_S: Final = 60.0


class Mark:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


@dataclass
class Findings:
    """What the strangers saw."""

    closed: int = 0
    refused: int = 0
    answered: int = 0
    longest_s: float = 0.0
    entries_s: list[float] = field(default_factory=list)


@dataclass
class Door:
    """Where the scheduler listens."""

    host: str
    port: int
    tls: bool
    file: str


def sayings(mark: Path) -> list[bytes]:
    """Every kind of message, pickles, noise, other protocols, somebody else's proof."""
    said = [b"".join(Encoder().encode(0, "c" * 16, 0, [message])) for message in examples().values()]
    said += [pickle.dumps(Mark(str(mark)), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    said += [Random(1).randbytes(size) for size in (1, 64, 367, 368, 369, 5000)]
    return [*said, b"", b"GET / HTTP/1.1\r\n\r\n", recorded()[1]]


async def stranger(door: Door, data: bytes, speaks_tls: bool, found: Findings) -> None:
    """Say something, then wait to be thrown out."""
    begun = time.monotonic()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            context = _blind() if speaks_tls else None
            reader, writer = await asyncio.open_connection(door.host, door.port, ssl=context)
            writer.write(data)
            answer = await reader.read(1 << 16)
            while more := await reader.read(1 << 16):
                answer += more
            writer.close()
    except (ConnectionError, ssl.SSLError):
        answer = b""
        found.refused += 1
    found.closed += 1
    if not speaks_tls and not door.tls:
        found.answered = max(found.answered, len(answer))
    found.longest_s = max(found.longest_s, time.monotonic() - begun)


def _blind() -> ssl.SSLContext:
    """Believes everybody, and has nothing to show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def enter(door: Door) -> float:
    """Seconds until one of ours is let in."""
    begun = time.monotonic()
    async with Client(scheduler_file=door.file, asynchronous=True, timeout=_TIMEOUT_S):
        return time.monotonic() - begun


async def crowd(door: Door, count: int, said: list[bytes]) -> Findings:
    """Send ``count`` strangers, some hundreds at a time, and one of ours every now and then."""
    found, running = Findings(), set[asyncio.Task[None]]()
    for number in range(count):
        if len(running) >= _AT_ONCE:
            _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        data = said[number % len(said)]
        running.add(asyncio.create_task(stranger(door, data, door.tls and number % 2 == 0, found)))
        if number % 2000 == 1999:
            found.entries_s.append(await enter(door))
    await asyncio.wait(running)
    return found


async def silence(door: Door, count: int) -> tuple[float, int]:
    """Seconds until one of ours gets past so many who say nothing, and how many those were in the end."""
    opened = await asyncio.gather(
        *(asyncio.open_connection(door.host, door.port) for _ in range(count)), return_exceptions=True
    )
    seconds = await enter(door)
    for pair in opened:
        if not isinstance(pair, BaseException):
            pair[1].close()
    return seconds, sum(not isinstance(pair, BaseException) for pair in opened)


def memory(process: psutil.Process) -> float:
    """Resident MiB."""
    return float(process.memory_info().rss) / 2**20


def main() -> int:
    """Run the siege; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.crowd")
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--silent", type=int, default=5_000)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        file, mark = f"{directory}/cluster.json", Path(directory) / "mark"
        command = [sys.executable, "-m", "myscheduler.cli.scheduler", "--port", "0", "--no-dashboard"]
        command += ["--scheduler-file", file, *(["--host", outward_address()] if options.tls else [])]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "HOME": directory}
        )
        try:
            return _report(process, file, mark, options)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def _report(process: subprocess.Popen[str], file: str, mark: Path, options: argparse.Namespace) -> int:
    assert process.stdout is not None
    found = None
    while found is None:
        found = re.search(r"(tcp|tls)://(\S+):(\d+)", process.stdout.readline())
    door = Door(found[2], int(found[3]), found[1] == "tls", file)
    watched = psutil.Process(process.pid)
    asyncio.run(enter(door))
    before, begun = memory(watched), time.monotonic()
    result = asyncio.run(crowd(door, options.connections, sayings(mark)))
    seconds, after = time.monotonic() - begun, memory(watched)
    entry, standing = asyncio.run(silence(door, options.silent))
    entries = sorted(result.entries_s) or [0.0]
    print(
        f"{result.closed:,} strangers over {found[1]} in {seconds:.0f} s, at most {_AT_ONCE} at a time; "
        f"the longest stay {result.longest_s:.1f} s, the longest answer {result.answered} bytes\n"
        f"ours got in after {entries[len(entries) // 2]:.3f} s (median of {len(entries)}), {entries[-1]:.2f} s at worst; "
        f"with {standing:,} silent ones at the door after {entry:.2f} s\n"
        f"memory of the scheduler: {before:.1f} MiB before, {after:.1f} after, {memory(watched):.1f} with the silent ones; "
        f"the mark of the pickles {'WAS MADE' if mark.exists() else 'was not made'}"
    )
    kept = result.answered <= GREETING_BYTES and not mark.exists() and result.closed == options.connections
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
