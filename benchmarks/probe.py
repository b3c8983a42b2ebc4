"""How long the turns of an event loop take: ``--preload`` this file into servers, or call ``watch`` on a loop.

Each process writes its figures to a file of its own, in the folder that ``PROBE_FOLDER`` names. A turn lasts from the return of
the selector to its next call. Another process may have had the core meanwhile, so the thread's processor time is noted as well.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = "PROBE_FOLDER"


@dataclass(slots=True)
class Turns:
    """The longest ones, in milliseconds."""

    #: by the clock on the wall
    longest_ms: float = 0.0
    #: of those, in the garbage collector, in whichever thread
    longest_collecting_ms: float = 0.0
    #: seconds since 1970 at its end
    longest_at: float = 0.0
    #: by the thread's own processor time
    longest_busy_ms: float = 0.0
    #: of the garbage collector
    longest_pause_ms: float = 0.0
    turns: int = 0

    def save(self, part: str) -> None:
        """Leave them where ``load`` finds them."""
        file = Path(os.environ[FOLDER]) / f"{part}-{os.getpid()}.json"
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")


def watch(loop: asyncio.AbstractEventLoop) -> Turns:
    """Measure the loop's turns from now on; call it on the loop's thread."""
    turns = Turns()
    selector = loop._selector  # type: ignore[attr-defined]  # noqa: SLF001
    select: Callable[..., Any] = selector.select
    began = [time.perf_counter(), time.thread_time()]
    collecting = [0.0, 0.0]  # since when, and for how long in this turn

    def timed_select(timeout: float | None = None) -> Any:
        turns.turns += 1
        lasted = (time.perf_counter() - began[0]) * 1e3
        if lasted > turns.longest_ms:
            turns.longest_ms, turns.longest_collecting_ms, turns.longest_at = lasted, collecting[1], time.time()
        turns.longest_busy_ms = max(turns.longest_busy_ms, (time.thread_time() - began[1]) * 1e3)
        ready = select(timeout)
        began[:] = time.perf_counter(), time.thread_time()
        collecting[1] = 0.0
        return ready

    selector.select = timed_select

    def on_collection(phase: str, info: dict[str, int]) -> None:
        del info
        if phase == "start":
            collecting[0] = time.perf_counter()
        else:
            pause = (time.perf_counter() - collecting[0]) * 1e3
            collecting[1] += pause
            turns.longest_pause_ms = max(turns.longest_pause_ms, pause)

    gc.callbacks.append(on_collection)
    return turns


def load(folder: Path) -> dict[str, list[Turns]]:
    """What the processes have left there, by part."""
    found: dict[str, list[Turns]] = {}
    for file in sorted(folder.glob("*.json")):
        found.setdefault(file.name.partition("-")[0], []).append(Turns(**json.loads(file.read_text(encoding="utf-8"))))
    return found


_turns: list[Turns] = []


def setup(server: object) -> None:
    """A server starts: ``--preload``."""
    del server
    _turns.append(watch(asyncio.get_running_loop()))


def teardown(server: object) -> None:
    """It ends."""
    _turns.pop().save(type(server).__name__.lower())
