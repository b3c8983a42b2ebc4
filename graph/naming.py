"""What keys are made of, and which keyword arguments of a call name its task instead of going to the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..base.keys import Key, validate_key


def name_of(func: Callable[..., Any]) -> str:
    """What a function is called in keys: its name, the inner one's for partials, the class's for other objects.

    Examples
    --------
    >>> from functools import partial
    >>> name_of(len), name_of(partial(max, 0))
    ('len', 'max')
    """
    inner = getattr(func, "func", func)
    name = getattr(inner, "__name__", None)
    return name if isinstance(name, str) else type(inner).__name__


def take_naming(func: Callable[..., Any] | None, kwargs: dict[str, Any], pure: bool) -> tuple[Key | None, bool]:
    """Take out of ``kwargs`` what is meant for us.

    That is ``dask_key_name=`` always, ``pure=`` unless the function has a parameter of that name, and ``key=`` unless the
    function has, or may have, one: it is a common name (``sorted(items, key=...)``).

    Parameters
    ----------
    func : callable, optional
        What is called, if that is known.
    kwargs : dict
        The keyword arguments of the call; changed.
    pure : bool
        The default.

    Returns
    -------
    tuple of (Key or None, bool)
        The key that the caller chose, and whether equal calls are one task.

    Raises
    ------
    KeyTypeError
        What the caller chose cannot be a key.

    Examples
    --------
    >>> def scale(x, factor): ...
    >>> kwargs = {"factor": 2, "key": "twice"}
    >>> take_naming(scale, kwargs, False), kwargs
    (('twice', False), {'factor': 2})
    """
    key = kwargs.pop("dask_key_name", None)
    if "pure" in kwargs and (func is None or "pure" not in _parameters(func)[0]):
        pure = bool(kwargs.pop("pure"))
    if key is None and "key" in kwargs and func is not None:
        names, takes_anything = _parameters(func)
        if not takes_anything and "key" not in names:
            key = kwargs.pop("key")
    return (None if key is None else validate_key(key)), pure


def _parameters(func: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """The names of a function's parameters, and whether it may take others."""
    try:
        return _signature_of(func)
    except TypeError:  # not hashable
        return _signature_of.__wrapped__(func)


@lru_cache(maxsize=1024)
def _signature_of(func: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):  # some builtins do not tell
        return frozenset(), True
    return (
        frozenset(parameter.name for parameter in parameters),
        any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters),
    )
