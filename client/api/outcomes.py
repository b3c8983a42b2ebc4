"""From records to what users see: values and exceptions, unpickled in the thread that asked for them."""

from __future__ import annotations

from typing import Any, Final

from ...base import errors
from ...base.errors import ClusterError, MySchedulerError, UsageError
from ...protocol.pickling import loads_exception
from ..records import ERROR, FINISHED, PENDING, Failure, Record, reason_to_raise

#: States of futures that can serve as inputs of new tasks.
USABLE: Final = (PENDING, FINISHED, ERROR)


def exception_of(record: Record) -> BaseException | None:
    """A fresh exception for a record that has an outcome but no result; None if it is finished."""
    state = record.state
    if state == FINISHED:
        return None
    if state == ERROR:
        return task_exception(record.failure)
    assert state != PENDING
    return reason_to_raise(record.ending, record.key)


def task_exception(failure: Failure) -> BaseException:
    """The exception of a failed task; with a note when another task failed first.

    Examples
    --------
    >>> task_exception(Failure("y", b"", "KilledWorkerError: task 'y' was on 4 workers that died", "", "y"))
    KilledWorkerError("task 'y' was on 4 workers that died")
    """
    if failure.payload:
        error = loads_exception(failure.payload, failure.text, failure.traceback)
    else:
        # The scheduler itself is the author: it never pickles, so the text names one of our own classes.
        error = _named_error(failure.text)
    if failure.culprit != failure.key:
        error.add_note(f"task {failure.key!r} failed because it needs {failure.culprit!r}, which raised this")
    return error


def _named_error(text: str) -> BaseException:
    name, colon, message = text.partition(": ")
    kind = getattr(errors, name, None) if colon else None
    if isinstance(kind, type) and issubclass(kind, MySchedulerError):
        return kind(message)
    return ClusterError(text)


def check_argument(record: Record) -> None:
    """Raise if a future cannot serve as an input of a new task."""
    if record.state not in USABLE:
        error: Any = exception_of(record)
        raise UsageError(f"{error}, so it cannot be an argument of a new task; submit it again") from error
