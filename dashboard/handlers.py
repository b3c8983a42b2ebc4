"""What the handlers of our own routes share: where numbers come from, answers in JSON, and who counts as looking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from ..base.errors import ClusterError, UsageError
from .guard import Guard
from .model import Model

#: Seconds that a page which asks from time to time counts as looking after each question.
ATTENTION_S: Final = 15.0


class Watched(Protocol):
    """What a page that is told of news needs to know of the feed."""

    @property
    def model(self) -> Model:
        """What is known about the cluster."""

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Be told after each update, until the returned function is called."""


class Source(Watched, Protocol):
    """Where the pages get what they show; ``Feed`` is one."""

    async def refresh(self) -> None:
        """Ask the scheduler for its numbers if those in the model are old."""

    async def ask(self, method: str, *args: Any) -> Any:
        """Make a CALL; ClusterError if there is no answer."""


class Audience:
    """The pages that ask for numbers instead of being told: together they watch as long as any of them does.

    Parameters
    ----------
    source : Watched
        Streams as long as it is watched.
    attention : float
        Seconds after a question for which somebody looks.
    """

    def __init__(self, source: Watched, attention: float = ATTENTION_S) -> None:
        self._source = source
        self._attention = attention
        self._stop: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Audience {'looks' if self._stop else 'is away'}>"

    def asked(self) -> None:
        """A page has just asked."""
        if self._stop is None:
            self._stop = self._source.watch(_nothing)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._attention, self.leave)

    def leave(self) -> None:
        """Nobody looks any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stop is not None:
            self._stop()
            self._stop = None


def _nothing() -> None:
    """What a page that asks by itself does when there is something new."""


class Handler(Guard):
    """A handler of ours."""

    def data_received(self, chunk: bytes) -> None:
        """Bodies are not streamed."""

    @property
    def source(self) -> Source:
        """Where numbers come from."""
        source: Source = self.application.settings["source"]
        return source


class JsonHandler(Handler):
    """Answers in JSON, errors included. ``find``, of each route, finds the answer."""

    find: Callable[..., Awaitable[None]]

    def answer(self, value: Any, status: int = 200) -> None:
        """Send a plain value."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(value))

    async def get(self, *arguments: str) -> None:
        """Find the answer; what the caller did wrong is 400, a scheduler that cannot answer is 503."""
        try:
            await self.find(*arguments)
        except UsageError as error:
            self.answer({"error": str(error)}, 400)
        except ClusterError as error:
            self.answer({"error": f"the scheduler cannot answer: {error}"}, 503)

    def number_argument(self, name: str, default: int, maximum: int) -> int:
        """A number from the query; UsageError if it is none or out of range."""
        given = self.get_query_argument(name, str(default))
        if not (given.isascii() and given.isdigit() and len(given) <= 12 and int(given) <= maximum):
            raise UsageError(f"{name}={given[:40]!r} is no number from 0 to {maximum}")
        return int(given)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors as JSON too."""
        self.answer(
            {
                "error": "403: a cookie or 'Authorization: Bearer <token>' is needed"
                if status_code == 403
                else f"{status_code} {self._reason}"
            },
            status_code,
        )
