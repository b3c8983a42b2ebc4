from __future__ import annotations

import pytest

from myscheduler.base.errors import CancelledError, LostDataError
from myscheduler.client.records import (
    CANCELLED,
    ERROR,
    FINISHED,
    LOST,
    MOVES,
    PENDING,
    Ending,
    Record,
    reason_to_raise,
)


def test_new_record_is_pending_with_one_reference() -> None:
    record = Record("x")
    assert (record.state, record.refs, record.outcome, record.waiters) == (PENDING, 1, None, None)
    assert repr(record) == "<Record 'x' pending>"


def test_outcomes_have_names() -> None:
    record = Record("x")
    record.state, record.outcome = FINISHED, ("x", 28, "int", None, "tcp://h:1")
    assert (record.result.nbytes, record.result.type_name, record.result.address) == (28, "int", "tcp://h:1")
    record.state, record.outcome = ERROR, ("x", b"", "KeyError: 1", "Traceback ...", "y")
    assert (record.failure.text, record.failure.culprit) == ("KeyError: 1", "y")
    record.state, record.outcome = LOST, Ending(LostDataError, "its worker died")
    assert record.ending.reason == "its worker died"


def test_reading_the_outcome_of_another_state_is_a_bug() -> None:
    record = Record("x")
    for name in ("result", "failure", "ending"):
        with pytest.raises(AssertionError):
            getattr(record, name)


def test_every_state_has_its_moves_and_cancellation_is_the_end() -> None:
    states = {PENDING, FINISHED, ERROR, CANCELLED, LOST}
    assert set(MOVES) == states
    assert all(set(targets) <= states for targets in MOVES.values())
    assert MOVES[CANCELLED] == ()


def test_reason_says_what_happened_to_which_future() -> None:
    cancelled = reason_to_raise(Ending(CancelledError, "by client a"), ("x", 1))
    assert isinstance(cancelled, CancelledError)
    assert str(cancelled) == "future ('x', 1) was cancelled: by client a"
    assert str(reason_to_raise(Ending(LostDataError, "worker w died"), "x")) == "future 'x' is lost: worker w died"
