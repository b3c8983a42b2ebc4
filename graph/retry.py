"""When a task that raised is tried again, and when not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from ..base.errors import UsageError
from ..base.units import parse_seconds

#: Retries allowed at most: what is tried more often is a loop, not a retry.
TIMES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """Which errors of a task are worth another try, and how long to wait before it. For ``retries=`` of tasks.

    Parameters
    ----------
    times : int
        How many times to try again at most.
    on : exception class or iterable of those, optional
        Only errors of these classes, and of classes derived from them, are worth another try; all by default. A task that ran
        out of its ``timeout`` is tried again only if a class named here covers ``TaskTimeoutError``, such as ``TimeoutError``.
    delay : float, str or timedelta
        Seconds, or text such as ``"500 ms"``, to wait before the first retry.
    backoff : float
        What the wait is multiplied with before each further retry; 1 for equal waits.
    max_delay : float, str or timedelta, optional
        No wait is longer.

    Raises
    ------
    UsageError
        A value makes no sense.

    Examples
    --------
    >>> Retry(4, on=OSError, delay="1 s", max_delay="5 s")       # waits 1, 2, 4 and 5 s
    Retry(times=4, on=(<class 'OSError'>,), delay=1.0, backoff=2.0, max_delay=5.0)
    """

    times: int
    on: tuple[type[BaseException], ...] | None
    delay: float
    backoff: float
    max_delay: float | None

    def __init__(
        self,
        times: int = 1,
        *,
        on: type[BaseException] | Iterable[type[BaseException]] | None = None,
        delay: float | str | timedelta = 0,
        backoff: float = 2.0,
        max_delay: float | str | timedelta | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "times", check_times(times))
        put(self, "on", None if on is None else _classes(on))
        put(self, "delay", parse_seconds(delay))
        put(self, "backoff", _factor(backoff))
        longest = parse_seconds(max_delay)
        if longest is not None and longest < self.delay:
            raise UsageError(f"max_delay={max_delay!r} is shorter than delay={delay!r}, the first wait")
        put(self, "max_delay", longest)


def check_times(times: object) -> int:
    """Raise UsageError unless this is a number of retries."""
    if isinstance(times, bool) or not isinstance(times, int) or not 0 <= times <= TIMES_MAX:
        raise UsageError(f"retries={times!r} is not a number of times to try again (0, 1, 2, ...), nor a Retry")
    return times


def _factor(backoff: object) -> float:
    if isinstance(backoff, bool) or not isinstance(backoff, (int, float)) or not 1 <= backoff <= 1000:
        raise UsageError(f"backoff={backoff!r} is not a factor from 1 (equal waits) to 1000")
    return float(backoff)


def _classes(on: Any) -> tuple[type[BaseException], ...]:
    classes = (on,) if isinstance(on, type) else tuple(on)
    for kind in classes:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise UsageError(f"on={on!r} must be exception classes, such as OSError; {kind!r} is none")
    if not classes:
        raise UsageError("on is empty, so nothing would be tried again; leave it out for all errors")
    return classes
