"""``ProgressBar``: how far a graph is that runs on this machine, in one line of text."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import Literal, TextIO

from ..base.notebook import can_rewrite_lines
from ..base.units import parse_seconds
from ..graph.task import Graph
from .callbacks import Callback, State


class ProgressBar(Callback):
    """Prints how far the schedulers of this machine are. For clusters, see ``progress`` and the dashboard.

    Parameters
    ----------
    minimum : float or str
        Seconds that a run must take before anything is printed.
    width : int
        Characters of the bar.
    dt : float or str
        Seconds between two updates.
    out : text file, optional
        Where to print; ``sys.stdout`` by default, False for nowhere. What is no terminal gets the last line only.

    Examples
    --------
    >>> from myscheduler import delayed
    >>> with ProgressBar():
    ...     delayed(sum)([delayed(abs)(i) for i in range(8)]).compute()
    [########################################] | 9/9 | 100% | ... s
    28
    """

    def __init__(
        self,
        minimum: float | str = 0.0,
        width: int = 40,
        dt: float | str = 0.1,
        out: TextIO | Literal[False] | None = None,
    ) -> None:
        super().__init__()
        self._minimum = parse_seconds(minimum) or 0.0
        self._width = width
        self._dt = parse_seconds(dt) or 0.1
        self._out = out
        self._state: State | None = None
        self._begin = 0.0
        self._over = threading.Event()
        self._timer: threading.Thread | None = None
        #: Seconds that the last run took.
        self.last_duration = 0.0

    def _start(self, graph: Graph) -> None:
        self._state = None
        self._begin = time.perf_counter()
        self._over = threading.Event()
        self._timer = threading.Thread(target=self._tick, args=(self._over,), name="myscheduler-progress", daemon=True)
        self._timer.start()

    def _start_state(self, graph: Graph, state: State) -> None:
        self._state = state

    def _finish(self, graph: Graph, state: State | None, errored: bool) -> None:
        self._over.set()
        if self._timer is not None:
            self._timer.join()
        self.last_duration = time.perf_counter() - self._begin
        if self.last_duration >= self._minimum:
            self._print("\n")

    def _tick(self, over: threading.Event) -> None:
        while not over.wait(self._dt):
            out = self._file()
            if out is None or not can_rewrite_lines(out):
                return  # a file gets the last line only
            if time.perf_counter() - self._begin >= self._minimum:
                self._print("")

    def _print(self, end: str) -> None:
        out = self._file()
        if out is None or self._state is None:
            return
        done, total = self._state.done, self._state.total
        text = line(done, total, time.perf_counter() - self._begin, self._width)
        with suppress(ValueError):  # the file has been closed
            out.write(f"\r{text}{end}")
            out.flush()

    def _file(self) -> TextIO | None:
        if self._out is False:
            return None
        return sys.stdout if self._out is None else self._out


def line(done: int, total: int, seconds: float, width: int) -> str:
    """One line of text.

    Examples
    --------
    >>> line(3, 4, 1.23, 8)
    '[######  ] | 3/4 |  75% | 1.2 s'
    """
    share = done / total if total else 1.0
    bar = "#" * int(width * share)
    return f"[{bar:<{width}}] | {done}/{total} | {int(100 * share):3d}% | {seconds:.1f} s"
