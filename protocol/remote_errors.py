"""What an exception looks like away from the process that raised it: its text, its traceback, its stand-in."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

from ..base.limits import KIB, TRACEBACK_CHARS_MAX

_PACKAGE: Final = __name__.partition(".")[0] + "."
_TEXT_CHARS_MAX: Final = 4 * KIB


class RemoteTraceback(Exception):  # noqa: N818 (named as in concurrent.futures: it is shown, never caught)
    """Carries the text of a traceback from another process as the ``__cause__`` of the exception it belongs to."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(RuntimeError):
    """Stands in for an exception of a task that cannot be carried to this process; says its type and message."""


def exception_text(error: BaseException) -> tuple[str, str]:
    r"""Describe an exception in one line, and in full; never raises an ``Exception``.

    Parameters
    ----------
    error : BaseException
        What a task raised.

    Returns
    -------
    tuple of (str, str)
        Type and message, at most 4 KiB; the traceback without our own frames at its top, at most 64 KiB.

    Examples
    --------
    >>> exception_text(KeyError("x"))
    ("KeyError: 'x'", "KeyError: 'x'\n")
    """
    try:
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        traceback_text = "".join(traceback.format_exception(type(error), error, _users_part(error.__traceback__)))
    except Exception as failure:  # noqa: BLE001 (a method of the user's exception failed)
        text = f"{type(error).__name__} (its text cannot be made: {type(failure).__name__})"
        traceback_text = text + "\n"
    return shorten(text), shorten(traceback_text, TRACEBACK_CHARS_MAX)


def shorten(text: str, length: int = _TEXT_CHARS_MAX) -> str:
    r"""Keep the start and, of an exception more telling, the end.

    Examples
    --------
    >>> shorten("a" * 50 + "b" * 50, 50)
    'aaaaaaaaaaaa\n... (cut) ...\nbbbbbbbbbbbbbbbbbbbbbbb'
    """
    if len(text) <= length:
        return text
    mark = "\n... (cut) ...\n"
    head = length // 4
    return text[:head] + mark + text[len(text) - (length - head - len(mark)) :]


def _users_part(top: TracebackType | None) -> TracebackType | None:
    """Without the frames of myscheduler that called the user's function, if there are others below."""
    below = top
    while below is not None and below.tb_frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        below = below.tb_next
    return below or top
