"""Finds the part of a value that cannot be pickled, for the text of an error. Slow: only used when one is raised."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

from .unchanged import global_names

_DEPTH_MAX: Final = 6


def find_culprit(value: Any, error: Exception, error_of: Callable[[Any], Exception | None]) -> tuple[str, Exception]:
    """Descend into ``value`` as long as one of its parts fails on its own.

    Parameters
    ----------
    value : object
        What cannot be pickled.
    error : Exception
        Why.
    error_of : callable
        Gives the error of pickling its argument, or None.

    Returns
    -------
    tuple of (str, Exception)
        The path to the innermost guilty part, as one would write it in Python ("" for ``value`` itself), and its error.

    Examples
    --------
    >>> def error_of(value):
    ...     return TypeError("no") if "lock" in str(value) else None
    >>> find_culprit({"a": [1, "lock"]}, TypeError("no"), error_of)
    ("['a'][1]", TypeError('no'))
    """
    path = ""
    for _ in range(_DEPTH_MAX):
        for step, part in _parts(value):
            cause = error_of(part)
            if cause is not None:
                path, value, error = path + step, part, cause
                break
        else:
            break
    return path, error


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    if isinstance(value, dict):
        return [(f"[{key!r:.60}]", part) for key, part in value.items()]
    if isinstance(value, FunctionType):
        return [(f" -> {name}", part) for name, part in _referred(value)]
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and not isinstance(value, type):
        return [(f".{name}", part) for name, part in attributes.items()]
    return []


def _referred(function: FunctionType) -> list[tuple[str, Any]]:
    """Variables of the closure and globals that the code of ``function`` uses."""
    referred = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            referred[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in global_names(function.__code__):
        if name in function.__globals__:
            referred[name] = function.__globals__[name]
    return list(referred.items())
