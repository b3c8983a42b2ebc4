"""What may be seen of messages by others than those they are for."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.redaction import error_class, hide_text, redact

SECRET = b"secret"


def holds_secret(value: object) -> bool:
    if isinstance(value, tuple):
        return any(map(holds_secret, value))
    if isinstance(value, Blob):
        return True
    return "secret" in value if isinstance(value, str) else isinstance(value, bytes) and SECRET in value


def test_functions_and_arguments_go_and_the_graph_stays() -> None:
    terms = (0.5, 2.0, None, SECRET, 3.0)
    rows = (("x", b"f", SECRET, (), 0, 0), ("y", b"f", Blob((SECRET,)), ("x",), 1, 0))
    option = (0, 2, None, False, None, terms)
    shown = redact((m.SUBMIT, 1, ((b"f", SECRET),), (option,), rows, None, False))
    m.validate(shown, m.Role.CLIENT)
    assert not holds_secret(shown)
    assert shown[4] == (("x", b"f", b"", (), 0, 0), ("y", b"f", b"", ("x",), 1, 0))
    assert shown[3] == ((0, 2, None, False, None, (0.5, 2.0, None, b"", 3.0)),)


def test_results_go_but_whether_there_was_one_stays() -> None:
    rows = tuple((key, 1, 8, "str", payload, 0, 0.5, 0.1) for key, payload in (("x", SECRET), ("y", None)))
    assert [row[4] for row in redact((m.RESULTS, rows))[1]] == [b"", None]


def test_of_errors_the_class_stays() -> None:
    row = ("x", 1, SECRET, "ValueError: secret", "Traceback: secret", 0, 0.5, 0.1)
    for op in (m.ERRORS, m.OVERDUE):
        assert redact((op, (row,))) == (op, (("x", 1, b"", "ValueError", "(not kept)", 0, 0.5, 0.1),))
    assert [error_class(text) for text in ("KeyError", "my.Error: secret", "", "'secret'")] == [
        "KeyError",
        "my.Error",
        "",
        "",
    ]


def test_values_on_their_way_and_last_words_go() -> None:
    assert redact((m.DATA, 1, (("x", SECRET),), (("y", "secret"),))) == (
        m.DATA,
        1,
        (("x", b""),),
        (("y", "(not kept)"),),
    )
    call = (m.CALL, 1, "worker_died", ("w", 7, "exit", "its last words: secret", (1,)))
    assert redact(call) == (m.CALL, 1, "worker_died", ("w", 7, "exit", "(not kept)", (1,)))
    assert hide_text("") == ""


def test_payloads_of_every_message_to_the_scheduler_are_hidden() -> None:
    """Messages that are added later, too."""
    values = {bytes: SECRET, str: "x", int: 1, float: 0.5, tuple: (), bool: True}
    for op, spec in m.SPECS.items():
        if not spec.senders & {m.Role.CLIENT, m.Role.WORKER} or op in (m.CALL, m.SUBMIT):
            continue
        for number, field in enumerate(spec.fields, 1):
            if isinstance(field, m.Rows) and any(Blob in types for types in field.fields):
                row = tuple(Blob((SECRET,)) if Blob in types else values.get(types[0], 1) for types in field.fields)
                message: list[object] = [op, *[() if isinstance(other, m.Rows) else 1 for other in spec.fields]]
                message[number] = (row,)
                assert not holds_secret(redact(tuple(message))), spec.name


def test_what_holds_no_payloads_is_left_as_it_is() -> None:
    message = (m.RELEASE, ("x", "y"))
    assert redact(message) is message
