"""Keys name tasks and their results. They travel as msgpack values and are compared as Python values."""

from __future__ import annotations

import reprlib
from typing import Final, TypeAlias

from .errors import KeyTypeError
from .limits import KEY_BYTES_MAX

Key: TypeAlias = "str | bytes | int | float | tuple[Key, ...]"

#: The first word of what looks like a key and names a part of a result, see ``items``.
ITEM_MARK: Final = "\0item"


def validate_key(key: object) -> Key:
    """Return ``key`` if it can name a task, else say what is wrong with it.

    Parameters
    ----------
    key : object
        A candidate key: ``str``, ``bytes``, ``int``, ``float`` or a (nested) tuple of those.

    Returns
    -------
    Key
        The same object.

    Raises
    ------
    KeyTypeError
        The key has another type (``bool`` and NaN included) or is longer than 4 KiB.

    Examples
    --------
    >>> validate_key(("x", 0))
    ('x', 0)
    >>> validate_key(["x", 0])
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.KeyTypeError: key ['x', 0] is a list; keys are str, bytes, int, float \
or tuples of those (write it as a tuple)
    """
    kind = type(key)
    if kind is str:
        if len(key) <= KEY_BYTES_MAX // 4 or len(key.encode("utf-8", "replace")) <= KEY_BYTES_MAX:  # type: ignore[arg-type, attr-defined]
            return key  # type: ignore[return-value]
        raise KeyTypeError(f"key {_shorten(key)} is longer than {KEY_BYTES_MAX} bytes")
    _validate_slow(key, key, 0)
    if kind is tuple and key[:1] == (ITEM_MARK,):  # type: ignore[index]
        raise KeyTypeError(f"key {_shorten(key)} begins with a word that is not for keys: choose another")
    return key  # type: ignore[return-value]


def _validate_slow(part: object, whole: object, depth: int) -> None:
    if isinstance(part, bool) or not isinstance(part, (str, bytes, int, float, tuple)):
        hint = " (write it as a tuple)" if isinstance(part, list) else ""
        where = "" if part is whole else f" holds {_shorten(part)}, which"
        raise KeyTypeError(
            f"key {_shorten(whole)}{where} is a {type(part).__name__}; "
            f"keys are str, bytes, int, float or tuples of those{hint}"
        )
    if isinstance(part, tuple):
        if depth > 16:
            raise KeyTypeError(f"key {_shorten(whole)} nests tuples deeper than 16 levels")
        for item in part:
            _validate_slow(item, whole, depth + 1)
    elif isinstance(part, int):
        if not -(2**63) <= part < 2**64:
            raise KeyTypeError(f"key {_shorten(whole)} holds an integer beyond 64 bits")
    elif isinstance(part, float):
        if part != part:
            raise KeyTypeError(f"key {_shorten(whole)} holds NaN, which equals nothing, not even itself")
    elif len(part) > KEY_BYTES_MAX:
        raise KeyTypeError(f"key {_shorten(whole)} is longer than {KEY_BYTES_MAX} bytes")


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60  # also bounds depth and length of what a mistaken key holds


def _shorten(value: object) -> str:
    return _repr.repr(value)


def key_prefix(key: Key) -> str:
    """Name the kind of task a key belongs to: what is left of ``name-token`` without the token.

    Examples
    --------
    >>> key_prefix("inc-5f3a9c01-17")
    'inc'
    >>> key_prefix(("read-csv-9f86d081884c", 3))
    'read-csv'
    >>> key_prefix("x")
    'x'
    >>> key_prefix(7)
    'int'
    """
    while isinstance(key, tuple) and key:
        key = key[0]
    if isinstance(key, bytes):
        key = key.decode("utf-8", "replace")
    if not isinstance(key, str):
        return type(key).__name__
    rest, dash, word = key.rpartition("-")
    # Counters and hexadecimal tokens are noise; words are names.
    while dash and (word.isdigit() or (len(word) >= 8 and not word.strip("0123456789abcdef"))):
        key = rest
        rest, dash, word = key.rpartition("-")
    return key
