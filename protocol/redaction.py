"""Messages without what users compute with: keys, sizes, places and times stay, payloads and texts of errors go.

What is a payload is read off the specifications of the messages, so a new message cannot be forgotten here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from .blob import Blob
from .messages import CALL, DATA, ERRORS, OVERDUE, SPECS, SUBMIT, Message, Row, Rows

_Hide: TypeAlias = Callable[[Any], Any]

#: What an error's text begins with: the name of its class.
_CLASS_NAME: Final = re.compile(r"[A-Za-z_][\w.]{0,200}")


def hide_payload(payload: Any) -> bytes | None:
    """Nothing instead of something; None stays, as it says that there was no payload."""
    return None if payload is None else b""


def hide_text(text: Any) -> str:
    """Of a text that may quote users' data, whether there was any."""
    return "(not kept)" if text else ""


def error_class(text: str) -> str:
    """Of the text of an error, only the name of its class.

    Examples
    --------
    >>> error_class("ValueError: the password is 1234")
    'ValueError'
    """
    found = _CLASS_NAME.match(text)
    return found.group() if found else ""


def _hide_terms(terms: Any) -> Any:
    """Of what a task asks for, not the pickled classes of exceptions."""
    return None if terms is None else tuple([hide_payload(part) if type(part) is bytes else part for part in terms])


def _payloads() -> dict[int, dict[int, dict[int, _Hide]]]:
    """By op, field of the message and position in its rows: what hides what stands there."""
    found: dict[int, dict[int, dict[int, _Hide]]] = {}
    for op, spec in SPECS.items():
        for number, field in enumerate(spec.fields, 1):
            if type(field) is Rows:
                hidden: dict[int, _Hide] = {
                    place: hide_payload for place, types in enumerate(field.fields) if Blob in types
                }
                if hidden:
                    found.setdefault(op, {})[number] = hidden
    found[SUBMIT][3] = {5: _hide_terms}
    for op in (ERRORS, OVERDUE):
        found[op][1] |= {3: error_class, 4: hide_text}
    found[DATA][3] = {1: hide_text}
    return found


_HIDDEN: Final = _payloads()


def redact(message: Message) -> Message:
    """A message as somebody else may see it.

    Parameters
    ----------
    message : tuple
        Of any op that a peer may send to the scheduler; valid.

    Returns
    -------
    tuple
        The same, with nothing in the place of payloads.

    Examples
    --------
    >>> from .messages import RESULTS
    >>> redact((RESULTS, (("x", 1, 28, "int", b"pickled", 0, 0.0, 0.1),)))
    (50, (('x', 1, 28, 'int', b'', 0, 0.0, 0.1),))
    """
    if message[0] == CALL:
        return _redact_call(message)
    fields = _HIDDEN.get(message[0])
    if fields is None:
        return message
    parts = list(message)
    for number, hidden in fields.items():
        parts[number] = tuple([_redact_row(row, hidden) for row in parts[number]])
    return tuple(parts)


def _redact_row(row: Row, hidden: dict[int, _Hide]) -> Row:
    values = list(row)
    for place, hide in hidden.items():
        values[place] = hide(values[place])
    return tuple(values)


def _redact_call(message: Message) -> Message:
    op, request, method, args = message
    if method == "worker_died" and len(args) == 5:  # the last words of a process
        args = (*args[:3], hide_text(args[3]), *args[4:])
    return (op, request, method, args)
