"""Another process of this host, for tests of pipes and segments: does what it is told, one line each; run by ``Peer``."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Self

from myscheduler.protocol.blob import Blob
from myscheduler.protocol.shared import PipedBlob, SharedBlob
from myscheduler.transport.pipes import Outflows, receive
from myscheduler.transport.segments import Segments
from myscheduler.transport.shared import open_shared
from tests.support.repository import ROOT

MIB = 1024 * 1024


class Peer:
    """The process, seen from the test. ``with Peer() as peer``."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.transport.peer"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def ask(self, *words: str) -> str:
        """Have it do something; returns what it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()


async def main() -> None:
    """Obey."""
    outflows, segments, held = Outflows(), Segments(64 * MIB), None
    for line in sys.stdin:
        command, *words = line.split()
        if command == "map":
            held = open_shared(SharedBlob.decode(bytes.fromhex(words[0])))
            print(sum(held.buffers[1][:1000]), flush=True)
        elif command == "drop":
            held = None
            print("dropped", flush=True)
        elif command == "read":
            blob = await receive(PipedBlob.decode(bytes.fromhex(words[0])))
            print(sum(blob.buffers[1][:1000]), blob.nbytes, flush=True)
        elif command == "stall":  # open the pipes, read more than they hold, and no more
            piped = PipedBlob.decode(bytes.fromhex(words[0]))
            for descriptor in [os.open(f"/proc/{piped.pid}/fd/{number}", os.O_RDONLY) for number in piped.descriptors]:
                count = 0
                while count <= 2 * MIB:
                    count += len(os.read(descriptor, MIB))
            print("stalled", flush=True)
        elif command == "send":  # fill the pipes, and no more
            started = outflows.start(Blob((b"stream", bytes([7]) * int(words[0]))))
            assert started is not None
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            print(started.encode().hex(), flush=True)
        elif command == "share":
            shared = segments.share(("x", 1), Blob((b"stream", bytes([7]) * (16 * MIB))))
            assert shared is not None
            print(shared.encode().hex(), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
