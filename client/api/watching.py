"""``progress``: watching futures from a terminal or a notebook."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

from ...base.errors import ClusterError, MySchedulerError, UsageError
from ...base.notebook import in_notebook
from ...base.units import parse_seconds
from ...graph.arguments import find_refs
from ...graph.delayed import Delayed, DelayedFuture
from ..progress import Progress, Row
from . import waiting
from .futures import Future
from .session import Session

logger = logging.getLogger("myscheduler.client")

#: With more futures than this, what they need is not asked for: their own number says enough.
ASKED_MAX: Final = 1000
#: Looking may cost this share of the time at most; the interval grows as needed.
SHARE: Final = 0.05
_ANSWER_TIMEOUT_S: Final = 5.0
_WIDTH: Final = 40


def progress(*futures: Any, notebook: bool | None = None, interval: float | str = "100ms") -> Any:
    """Show how far futures are, with what they need, by kind of task.

    In a terminal this returns when all are done; Ctrl-C ends the watching, not the tasks. In a notebook it shows a bar that
    keeps itself up to date and returns at once.

    Parameters
    ----------
    *futures : Future, or nested containers of those
        What to watch; persisted ``Delayed`` objects will do as well.
    notebook : bool, optional
        True for HTML, False for text; found out by default.
    interval : float or str
        Seconds between two looks.

    Returns
    -------
    None
        An awaitable of it when the client is asynchronous and text is wanted.

    Raises
    ------
    UsageError
        Something that is no future, or not started yet, or of another client.

    Examples
    --------
    >>> progress(client.map(abs, range(8)))  # doctest: +ELLIPSIS
    abs  [########################################] 8/8
    ... s
    """
    seconds = parse_seconds(interval)
    if not seconds:
        raise UsageError(f"interval={interval!r} is no time between two looks; write seconds, or text such as '100ms'")
    found = list(_futures_in(futures))
    if not found:
        raise UsageError("progress() needs futures, such as progress(client.map(...))")
    show: _Show = _Html() if (in_notebook() if notebook is None else notebook) else _Text()
    watcher = _Watcher(waiting.one_session(found), found, show, seconds)
    if isinstance(show, _Html):
        watcher.show_in_background()
        return None
    return watcher.show_async() if found[0].client.asynchronous else watcher.show_blocking()


def _futures_in(shape: Any) -> Iterable[Future[Any]]:
    for ref in find_refs(shape).values():
        future = ref.future if isinstance(ref, DelayedFuture) else ref
        if isinstance(future, Future):
            yield future
        elif isinstance(ref, Delayed):
            raise UsageError(f"{ref!r} has not been started; watch what client.compute or client.persist makes of it")


# ---- looking --------------------------------------------------------------------------------------------------------


class _Watcher:
    """Looks at futures from time to time and has somebody show what is there."""

    def __init__(self, session: Session, futures: list[Future[Any]], show: _Show, interval: float) -> None:
        self._session = session
        self._futures = futures  # kept, so that nobody gives the results up meanwhile
        self._progress = Progress([future.record for future in futures])
        self._show = show
        self._interval = interval
        self._asks = len(futures) <= ASKED_MAX
        self._begin = time.perf_counter()

    def show_blocking(self) -> None:
        """Return when all is done."""
        try:
            while self._progress.pending:
                began = time.perf_counter()
                self._progress.take_stock()
                self._look(self._ask_blocking())
                waiting.block(self._session, self._progress.pending, self._pause(began))
        finally:
            self._end()

    async def show_async(self) -> None:
        """The same, for asynchronous clients."""
        try:
            while self._progress.pending:
                began = time.perf_counter()
                self._progress.take_stock()
                self._look(await self._ask())
                await waiting.until(self._session, self._progress.pending, self._pause(began))
        finally:
            self._end()

    def show_in_background(self) -> None:
        """Return at once; a thread goes on."""
        self._progress.take_stock()
        self._look(None)
        thread = threading.Thread(target=self._show_patiently, name="myscheduler-progress", daemon=True)
        thread.start()

    def _show_patiently(self) -> None:
        try:
            self.show_blocking()
        except Exception:
            logger.exception("progress() has stopped watching")

    def _look(self, rows: list[Row] | None) -> None:
        self._progress.update(rows)
        self._show(self._progress, time.perf_counter() - self._begin)

    def _end(self) -> None:
        self._progress.take_stock()
        self._look(None)
        self._show.end()

    def _pause(self, began: float) -> float:
        return max(self._interval, (time.perf_counter() - began) / SHARE)

    def _ask_blocking(self) -> list[Row] | None:
        future = asyncio.run_coroutine_threadsafe(self._ask(), self._session.loop)
        try:
            return future.result(2 * _ANSWER_TIMEOUT_S)
        except TimeoutError:
            return None
        finally:
            future.cancel()

    async def _ask(self) -> list[Row] | None:
        """What the scheduler knows of the tasks behind our futures; None if it does not answer."""
        if not self._asks or not self._session.is_open:
            return None
        keys = tuple(record.key for record in self._progress.pending)
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                rows: list[Row] | None = await self._session.call("progress", keys)
        except (ClusterError, TimeoutError):
            return None
        except MySchedulerError as error:
            logger.debug("no progress of tasks behind the futures: %s", error)
            rows = None
        self._asks = rows is not None
        return rows


# ---- showing --------------------------------------------------------------------------------------------------------


class _Show:
    def __call__(self, progress: Progress, seconds: float) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """Nothing more comes."""


class _Text(_Show):
    """On a terminal, lines that are overwritten; into a file, only what there is in the end."""

    def __init__(self) -> None:
        self._out = sys.stdout
        self._above = 0
        self._last = ""

    def __call__(self, progress: Progress, seconds: float) -> None:
        self._last = progress.draw(seconds, _WIDTH)
        if self._out.isatty():
            up = f"\x1b[{self._above}A" if self._above else ""
            columns = shutil.get_terminal_size().columns  # a line that wraps would be two
            lines = [line[: columns - 1] for line in self._last.split("\n")]
            self._out.write(up + "".join(f"\r\x1b[K{line}\n" for line in lines))
            self._out.flush()
            self._above = len(lines)

    def end(self) -> None:
        if not self._out.isatty():
            self._out.write(f"{self._last}\n")
            self._out.flush()


class _Html(_Show):
    """A piece of the notebook's page that is replaced."""

    def __init__(self) -> None:
        try:
            from IPython.display import HTML, display
        except ImportError:
            raise UsageError("notebook=True needs IPython; leave it out for text") from None
        self._html: Any = HTML
        self._display: Any = display
        self._handle: Any = None

    def __call__(self, progress: Progress, seconds: float) -> None:
        page = self._html(progress.to_html(seconds))
        if self._handle is None:
            self._handle = self._display(page, display_id=True)
        else:
            self._handle.update(page)
