from __future__ import annotations

from myscheduler.base.limits import (
    FUNCTION_BYTES_REMEMBERED_MAX,
    FUNCTIONS_REMEMBERED_MAX,
    ROWS_PER_MESSAGE_MAX,
)
from myscheduler.client.outbox import DEFAULT_OPTION, Call, Outbox
from myscheduler.protocol import messages as m

HIGH = (5, 0, None, False, None, None)


def submit(outbox: Outbox, key: str, func: bytes = b"f", option=DEFAULT_OPTION) -> None:  # type: ignore[no-untyped-def]
    outbox.submit(Call(key, func, b"args", ()), b"pickled " + func, option)


def test_single_tasks_share_a_message() -> None:
    outbox = Outbox()
    submit(outbox, "a")
    submit(outbox, "b", option=HIGH)
    submit(outbox, "c")
    (message,) = outbox.take()
    assert message == (
        m.SUBMIT,
        1,
        ((b"f", b"pickled f"),),
        (DEFAULT_OPTION, HIGH),
        (("a", b"f", b"args", (), 0, 0), ("b", b"f", b"args", (), 1, 1), ("c", b"f", b"args", (), 2, 0)),
        None,
        False,
    )
    assert outbox.take() == []


def test_a_function_is_sent_once_in_all() -> None:
    outbox = Outbox()
    submit(outbox, "a")
    outbox.take()
    submit(outbox, "b")
    outbox.submit_many(9, [(b"f", b"pickled f"), (b"g", b"pickled g")], [DEFAULT_OPTION], [], None, False)
    first, second = outbox.take()
    assert first[2] == ()
    assert second[2] == ((b"g", b"pickled g"),)


def test_full_messages_are_cut() -> None:
    outbox = Outbox()
    for number in range(ROWS_PER_MESSAGE_MAX + 1):
        submit(outbox, f"k{number}")
    first, second = outbox.take()
    assert (len(first[4]), len(second[4])) == (ROWS_PER_MESSAGE_MAX, 1)
    assert first[1] != second[1]
    assert second[4][0][4] == 0
    for number in range(ROWS_PER_MESSAGE_MAX + 1):
        outbox.want(f"k{number}")
    assert [len(message[1]) for message in outbox.take()] == [ROWS_PER_MESSAGE_MAX, 1]
    outbox.release([f"k{number}" for number in range(ROWS_PER_MESSAGE_MAX + 1)])
    assert [len(message[1]) for message in outbox.take()] == [ROWS_PER_MESSAGE_MAX, 1]


def test_order_is_kept_between_kinds() -> None:
    outbox = Outbox()
    submit(outbox, "a")
    outbox.want("b")
    submit(outbox, "c")
    outbox.say((m.RETRY, 7, ()))
    outbox.want("d")
    assert [message[0] for message in outbox.take()] == [m.SUBMIT, m.WANT, m.SUBMIT, m.RETRY, m.WANT]


def test_truth_is_whether_there_is_something_to_send() -> None:
    outbox = Outbox()
    assert not outbox
    outbox.want("x")
    assert outbox
    outbox.take()
    assert not outbox


def test_messages_are_valid() -> None:
    outbox = Outbox()
    submit(outbox, "a")
    outbox.want("b")
    outbox.release(["a"])
    outbox.submit_many(outbox.new_request(), [], [DEFAULT_OPTION], [("c", b"f" * 16, b"", (), 0, 0)], (0,), True)
    messages = outbox.take()
    for message in messages:
        m.validate(message, m.Role.CLIENT)
    assert len(messages) == 4


def test_large_functions_are_forgotten_right_after_their_request() -> None:
    outbox = Outbox()
    large = bytes(FUNCTION_BYTES_REMEMBERED_MAX + 1)
    submit(outbox, "small", b"s")
    outbox.submit_many(9, [(b"l", large)], [DEFAULT_OPTION], [], None, True)
    outbox.submit_many(9, [(b"l", large)], [DEFAULT_OPTION], [], None, False)
    messages = outbox.take()
    assert [message[0] for message in messages] == [m.SUBMIT, m.SUBMIT, m.SUBMIT, m.UNDEFINE]
    assert messages[2][2] == ()  # still remembered while slices were to come
    assert messages[3][1] == (b"s", b"l")
    submit(outbox, "again", b"l")
    assert outbox.take()[0][2] == ((b"l", b"pickled l"),)


def test_the_oldest_of_many_functions_are_forgotten() -> None:
    outbox = Outbox()
    for number in range(FUNCTIONS_REMEMBERED_MAX + 5):
        submit(outbox, f"x-{number}", b"%d" % number)
    gone = [func_id for message in outbox.take() if message[0] == m.UNDEFINE for func_id in message[1]]
    assert gone == [b"0", b"1", b"2", b"3", b"4"]
