"""Keys of tasks in addresses of pages: every key has one text, and every such text names one key. Pure.

A text key is written as it is, since nearly all keys are texts. Any other is ``~`` and JSON: ``~["x",0]`` for a tuple,
``~7``, ``~0.5``, ``~{"hex":"00ff"}`` for bytes. A text that would be mistaken for one of those, or whose spaces at the ends
or control characters would be lost on the way, is written as JSON too, and one that UTF-8 cannot express (it holds
surrogates, as some names of files do) as ``~{"utf8":"eda080"}``.
"""

from __future__ import annotations

import json
from typing import Any, Final

from ..base.errors import KeyTypeError, UsageError
from ..base.keys import Key, validate_key

_MARK: Final = "~"


def key_to_text(key: Key) -> str:
    r"""What names a key in an address, before percent-encoding.

    Parameters
    ----------
    key : Key
        A valid key.

    Returns
    -------
    str
        Printable by UTF-8.

    Examples
    --------
    >>> [key_to_text(key) for key in ("inc-1", ("x", 0), b"\x00", 7, "~")]
    ['inc-1', '~["x",0]', '~{"hex":"00"}', '~7', '~"~"']
    """
    if type(key) is str and key.isprintable() and key.strip() == key and key[:1] not in ("", _MARK):
        return key
    return _MARK + json.dumps(_plain(key), separators=(",", ":"))


def text_to_key(text: str) -> Key:
    r"""The key that a text names.

    Parameters
    ----------
    text : str
        Made by ``key_to_text``, or typed by somebody.

    Returns
    -------
    Key
        A valid key.

    Raises
    ------
    UsageError
        It names none, and what would.

    Examples
    --------
    >>> [text_to_key(text) for text in ("inc-1", '~["x",0]', '~{"hex":"00"}', "~7", '~"~"')]
    ['inc-1', ('x', 0), b'\x00', 7, '~']
    """
    try:
        return validate_key(text if not text.startswith(_MARK) else _key(json.loads(text[1:])))
    except (ValueError, RecursionError, KeyTypeError) as error:
        raise UsageError(
            f"no key is written {text[:60]!r} ({error}); a text key is written as it is, any other as ~ and JSON, "
            'such as ~["x",0] for a tuple, ~7 for a number, ~{"hex":"00ff"} for bytes'
        ) from None


def key_label(key: Key, limit: int = 256) -> str:
    """What to call a key on a page: the text itself, or Python's way to write it; clipped.

    Examples
    --------
    >>> key_label("inc-1"), key_label(("x", 0)), key_label("x" * 300, 5)
    ('inc-1', "('x', 0)", 'xxxx…')
    """
    label = key if type(key) is str else repr(key)
    if not _is_printable(label):
        label = ascii(key)
    return label if len(label) <= limit else label[: limit - 1] + "…"


def _is_printable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(key: Key) -> Any:
    if isinstance(key, tuple):
        return [_plain(part) for part in key]
    if isinstance(key, str) and not _is_printable(key):
        return {"utf8": key.encode("utf-8", "surrogatepass").hex()}
    return {"hex": key.hex()} if isinstance(key, bytes) else key


def _key(value: Any) -> Key:
    if isinstance(value, list):
        return tuple(_key(part) for part in value)
    if isinstance(value, dict):
        [(how, digits)] = value.items() if len(value) == 1 else [("", "")]
        if how not in ("hex", "utf8") or not isinstance(digits, str):
            raise ValueError("bytes are written {'hex': digits}")
        data = bytes.fromhex(digits)
        return data if how == "hex" else data.decode("utf-8", "surrogatepass")
    return value  # type: ignore[no-any-return]  # validate_key judges the rest
