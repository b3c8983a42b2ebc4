"""Options for the tasks that are made inside a ``with`` block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, replace
from typing import Any, Final

from ..base.errors import UsageError
from ..base.units import parse_seconds
from .retry import Retry, check_times
from .task import TaskOptions

_options: ContextVar[TaskOptions | None] = ContextVar("myscheduler_task_options", default=None)
_NAMES: Final = tuple(field.name for field in fields(TaskOptions))

#: The options of the innermost ``annotate`` block, or None.
current_options = _options.get


@contextmanager
def annotate(**options: Any) -> Iterator[None]:
    """Give options to all delayed calls that are made in this block; blocks nest, the inner one wins.

    Parameters
    ----------
    **options : object
        ``priority``: a number, higher runs first, 0 by default. ``retries``: how many times to try again after the task
        raised, or a ``Retry``. ``timeout``: seconds, or text such as ``"30 s"``, that one run may take. ``workers``: names
        or addresses of the workers that may run the tasks (a str or several);
        ``allow_other_workers``: whether that is only a wish. ``resources``: a mapping of names to amounts that each task
        occupies while it runs.

    Raises
    ------
    UsageError
        An unknown option, or a value that cannot be one.

    Examples
    --------
    >>> from myscheduler import delayed
    >>> with annotate(retries=3):
    ...     page = delayed(open)("page.html")        # tried up to four times, whenever it is computed
    >>> with annotate(priority=10, resources={"GPU": 1}):
    ...     current_options()
    TaskOptions(priority=10, retries=0, workers=None, allow_other_workers=False, resources=(('GPU', 1.0),), timeout=None)
    """
    token = _options.set(make_options(_options.get(), **options))
    try:
        yield
    finally:
        _options.reset(token)


def make_options(base: TaskOptions | None = None, **options: Any) -> TaskOptions:
    """Check options as users write them, and lay them over ``base``.

    Raises
    ------
    UsageError
        An unknown option, or a value that cannot be one.

    Examples
    --------
    >>> make_options(workers="alice", retries=2).workers
    ('alice',)
    """
    for name in options:
        if name not in _NAMES:
            raise UsageError(f"tasks have no option {name!r}; options are {', '.join(_NAMES)}")
    priority = options.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, (int, float)) or priority != priority:
        raise UsageError(f"priority={priority!r} is not a number")
    retries = options.get("retries", 0)
    if not isinstance(retries, Retry):
        check_times(retries)
    if "timeout" in options:
        options["timeout"] = _timeout(options["timeout"])
    if "workers" in options:
        options["workers"] = _workers(options["workers"])
    if "resources" in options:
        options["resources"] = _resources(options["resources"])
    return replace(base or TaskOptions(), **options)


def _timeout(timeout: Any) -> float | None:
    seconds = parse_seconds(timeout)
    if seconds == 0:
        raise UsageError("timeout=0 leaves a task no time to run; use None for no limit")
    return seconds


def _workers(workers: Any) -> tuple[str, ...] | None:
    if workers is None:
        return None
    if isinstance(workers, str):
        return (workers,)
    names = sorted(workers) if isinstance(workers, (set, frozenset)) else list(workers)
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"workers={workers!r} must be names or addresses of workers; {name!r} is not a str")
    if not names:
        raise UsageError("workers is empty, so no worker could run the task; use None for all workers")
    return tuple(names)


def _resources(resources: Any) -> tuple[tuple[str, float], ...] | None:
    if resources is None:
        return None
    pairs = sorted(resources.items() if isinstance(resources, Mapping) else resources)
    for name, amount in pairs:
        if not isinstance(name, str) or isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount < 0:
            raise UsageError(f"resources={resources!r} must map names to amounts, like {{'GPU': 1}}")
    return tuple([(name, float(amount)) for name, amount in pairs])
