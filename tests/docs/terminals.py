"""Terminals in which commands of the documentation run: each until it says that it is ready, and to the end of the page."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

MODULES = {"myscheduler": "myscheduler.cli.scheduler", "myworker": "myscheduler.cli.worker"}
#: With this the commands end what they print at the start.
READY = "Ctrl-C stops"
TIMEOUT_S = 30.0


class Terminals:
    """Starts the commands of a page, one terminal each; other programs' commands are passed over.

    Parameters
    ----------
    folder : Path
        Where the reader stands.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[subprocess.Popen[str]] = []

    def run(self, words: list[str], port: str) -> None:
        """Start a command and wait until it is ready, or over.

        Parameters
        ----------
        words : list of str
            The command.
        port : str
            What schedulers listen on instead of the usual one.
        """
        while words and words[0] not in MODULES:
            if words[0] != "ssh":
                return
            words = words[2:]  # all machines are this one
        program, *arguments = words
        if program == "myscheduler":
            self.close()  # here begins another story
            arguments += ["--port", port, "--dashboard-address", ":0"]
        process = subprocess.Popen(
            [sys.executable, "-m", MODULES[program], *arguments],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._open.append(process)
        assert process.stdout is not None
        stopper = threading.Timer(TIMEOUT_S, process.kill)
        stopper.start()
        try:
            said = read_until_ready(process.stdout)
        finally:
            stopper.cancel()
        assert READY in said or process.wait(TIMEOUT_S) == 0, f"{' '.join(words)} did not start:\n{said}"

    def close(self) -> None:
        """Ctrl-C in all terminals, the newest first. All must end as asked. Idempotent."""
        endings = []
        while self._open:
            process = self._open.pop()
            process.terminate()
            try:
                said, _ = process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
            endings.append((process.returncode, said))
        assert all(code == 0 for code, _ in endings), endings


def read_until_ready(output: IO[str]) -> str:
    """What a command has printed until it is ready or has ended."""
    said = ""
    for line in output:
        said += line
        if READY in line:
            break
    return said
