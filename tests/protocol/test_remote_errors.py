from __future__ import annotations

from myscheduler.base.limits import TRACEBACK_CHARS_MAX
from myscheduler.protocol.remote_errors import RemoteTraceback, exception_text


def test_the_cause_is_part_of_the_text() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        text, traceback_text = exception_text(error)
    assert text == "ValueError: outer"
    assert "KeyError: 'inner'" in traceback_text
    assert "direct cause" in traceback_text


def test_long_texts_keep_start_and_end() -> None:
    text, traceback_text = exception_text(ValueError("a" * 100_000 + "z"))
    assert len(text) == 4096
    assert len(traceback_text) == TRACEBACK_CHARS_MAX
    assert text.startswith("ValueError: aaa")
    assert text.endswith("aaz")
    assert "... (cut) ..." in text


def test_the_remote_traceback_is_shown_as_a_block() -> None:
    assert str(RemoteTraceback("Traceback:\n  x\n")) == '\n"""\nTraceback:\n  x\n"""'
