from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myscheduler.base.errors import CancelledError, ClosedError, InternalError, LostDataError, ProtocolError, UsageError
from myscheduler.client.effects import Answer
from myscheduler.client.machine import ClientMachine
from myscheduler.client.outbox import DEFAULT_OPTION, Call
from myscheduler.client.records import CANCELLED, ERROR, FINISHED, LOST, PENDING, Record
from myscheduler.protocol import messages as m


@pytest.fixture
def machine() -> Iterator[ClientMachine]:
    machine = ClientMachine()
    yield machine
    machine.check()


def submit(machine: ClientMachine, key: Any) -> Record:
    return machine.submit(Call(key, b"f" * 16, b"args", ()), b"function", DEFAULT_OPTION)


def memory(key: Any, payload: bytes | None = b"1", address: str | None = "tcp://w") -> m.Message:
    return (m.IN_MEMORY, ((key, 28, "int", payload, address),))


def failed(key: Any) -> m.Message:
    return (m.FAILED, ((key, b"e", "E: 1", "tb", key),))


def take(machine: ClientMachine) -> list[m.Message]:
    messages = machine.take_outbox()
    for message in messages:
        m.validate(message, m.Role.CLIENT)
    return messages


# ---- outcomes -------------------------------------------------------------------------------------------------------


def test_each_kind_of_news_settles_a_pending_future(machine: ClientMachine) -> None:
    records = [submit(machine, key) for key in "abcd"]
    machine.handle([memory("a"), failed("b"), (m.CANCELLED, (("c", "why"),)), (m.LOST, (("d", "how"),))])
    assert [record.state for record in records] == [FINISHED, ERROR, CANCELLED, LOST]
    assert records[2].ending == (CancelledError, "why")
    assert records[3].ending == (LostDataError, "how")


NEWS = {
    FINISHED: memory("x"),
    ERROR: failed("x"),
    CANCELLED: (m.CANCELLED, (("x", "why"),)),
    LOST: (m.LOST, (("x", "how"),)),
}


@pytest.mark.parametrize("first", NEWS)
@pytest.mark.parametrize("second", NEWS)
def test_an_outcome_stays(machine: ClientMachine, first: str, second: str) -> None:
    record = submit(machine, "x")
    machine.handle([NEWS[first]])
    outcome = record.outcome
    machine.handle([NEWS[second]])
    assert (record.state, record.outcome) == (first, outcome)


@pytest.mark.parametrize("news", [CANCELLED, LOST])
def test_a_result_not_at_hand_can_be_taken_away(machine: ClientMachine, news: str) -> None:
    record = submit(machine, "x")
    machine.handle([memory("x", payload=None)])
    machine.handle([NEWS[news]])
    assert record.state == news


def test_a_result_not_at_hand_can_move(machine: ClientMachine) -> None:
    record = submit(machine, "x")
    machine.handle([memory("x", None, "tcp://a"), memory("x", None, "tcp://b")])
    assert record.result.address == "tcp://b"


def test_news_of_unknown_keys_change_nothing(machine: ClientMachine) -> None:
    effects = machine.handle([memory("x"), failed("x"), *NEWS.values()])
    assert (effects.settled, effects.answers, dict(machine.records)) == ({}, [], {})


def test_messages_of_others_are_refused(machine: ClientMachine) -> None:
    with pytest.raises(ProtocolError, match="COMPUTE, which is not for clients"):
        machine.handle([(m.COMPUTE, (), ())])


# ---- references -----------------------------------------------------------------------------------------------------


def test_the_last_reference_releases(machine: ClientMachine) -> None:
    record = submit(machine, "x")
    machine.hold(record)
    machine.handle([memory("x")])
    take(machine)
    machine.release([record])
    assert take(machine) == []
    machine.release([record])
    assert machine.has_outbox
    assert take(machine) == [(m.RELEASE, ("x",))]
    assert dict(machine.records) == {}


def test_a_key_wanted_again_before_the_flush_is_kept(machine: ClientMachine) -> None:
    record = submit(machine, "x")
    machine.handle([memory("x")])
    take(machine)
    machine.release([record])
    assert machine.want("x") is record
    assert take(machine) == []
    assert record.state == FINISHED


def test_releases_follow_submits_of_the_same_flush(machine: ClientMachine) -> None:
    machine.release([submit(machine, "x")])
    assert [message[0] for message in take(machine)] == [m.SUBMIT, m.RELEASE, m.RETRY]


def test_releases_are_batched(machine: ClientMachine) -> None:
    records = [machine.want(number) for number in range(1000)]
    machine.handle([memory(number) for number in range(1000)])
    take(machine)
    machine.release(records)
    assert [len(message[1]) for message in take(machine)] == [512, 488]


def test_want_asks_once_and_shares_the_record(machine: ClientMachine) -> None:
    first = machine.want("x")
    assert machine.want("x") is first
    assert first.refs == 2
    assert take(machine) == [(m.WANT, ("x",))]


def test_a_cancelled_key_can_be_submitted_anew(machine: ClientMachine) -> None:
    old = submit(machine, "x")
    machine.handle([NEWS[CANCELLED]])
    assert machine.find("x") is None
    new = submit(machine, "x")
    take(machine)
    machine.release([old])
    assert take(machine) == []
    machine.handle([memory("x")])
    assert (old.state, new.state) == (CANCELLED, FINISHED)


def test_find_adds_a_reference(machine: ClientMachine) -> None:
    record = submit(machine, "x")
    assert machine.find("x") is record
    assert record.refs == 2
    assert machine.find("y") is None


# ---- two lives of one key -------------------------------------------------------------------------------------------


def fence_of(messages: list[m.Message]) -> int:
    (request,) = [message[1] for message in messages if message[0] == m.RETRY]
    return int(request)


def test_the_outcome_of_an_earlier_life_is_not_taken_for_the_new_one(machine: ClientMachine) -> None:
    machine.release([submit(machine, "x")])
    fence = fence_of(take(machine))
    record = submit(machine, "x")
    machine.handle([memory("x", b"old")])
    assert record.state == PENDING
    machine.handle([(m.REPLY, fence, True, ())])
    assert [message[0] for message in take(machine)] == [m.SUBMIT, m.WANT]
    machine.handle([memory("x", b"new")])
    assert record.result.payload == b"new"


def test_without_stale_news_nothing_is_asked_again(machine: ClientMachine) -> None:
    machine.release([submit(machine, "x")])
    fence = fence_of(take(machine))
    record = submit(machine, "x")
    machine.handle([(m.REPLY, fence, True, ()), failed("x")])
    assert record.state == ERROR
    assert [message[0] for message in take(machine)] == [m.SUBMIT]


def test_a_settled_key_needs_no_fence(machine: ClientMachine) -> None:
    record = submit(machine, "x")
    machine.handle([memory("x")])
    machine.release([record])
    assert m.RETRY not in [message[0] for message in take(machine)]


# ---- graphs ---------------------------------------------------------------------------------------------------------


def row(key: str, order: int) -> m.Row:
    return (key, b"f" * 16, b"args", (), order, 0)


def test_slices_give_records_of_what_is_wanted(machine: ClientMachine) -> None:
    request = machine.new_request()
    none = machine.submit_slice(request, [(b"f" * 16, b"F")], [DEFAULT_OPTION], [row("a", 0)], (), True)
    (record,) = machine.submit_slice(request, [(b"f" * 16, b"F")], [DEFAULT_OPTION], [row("b", 1)], (0,), False)
    assert (none, record.key, list(machine.records)) == ([], "b", ["b"])
    first, second = take(machine)
    assert (first[1], first[5], first[6]) == (request, (), True)
    assert (second[1], second[2], second[5], second[6]) == (request, (), (0,), False)


def test_a_key_held_already_gets_another_reference(machine: ClientMachine) -> None:
    record = submit(machine, "a")
    (same,) = machine.submit_slice(machine.new_request(), [], [DEFAULT_OPTION], [row("a", 0)], None, False)
    assert same is record
    assert record.refs == 2


# ---- waiting --------------------------------------------------------------------------------------------------------


def test_waiters_hear_of_pending_ones_only_and_once(machine: ClientMachine) -> None:
    a, b = submit(machine, "a"), submit(machine, "b")
    machine.handle([memory("a")])
    assert machine.watch([a, b], "waiter") == 1
    assert machine.handle([memory("b")]).settled == {"waiter": [b]}
    assert machine.handle([memory("b")]).settled == {}
    assert b.waiters is None


def test_several_waiters_and_several_records(machine: ClientMachine) -> None:
    a, b = submit(machine, "a"), submit(machine, "b")
    machine.watch([a, b], 1)
    machine.watch([b], 2)
    assert machine.handle([memory("a"), failed("b")]).settled == {1: [a, b], 2: [b]}


def test_unwatch(machine: ClientMachine) -> None:
    a = submit(machine, "a")
    machine.watch([a], 1)
    machine.watch([a], 2)
    machine.unwatch([a], 1)
    assert a.waiters == [2]
    machine.unwatch([a], 2)
    assert a.waiters is None
    assert machine.handle([memory("a")]).settled == {}


# ---- requests -------------------------------------------------------------------------------------------------------


def test_hello_is_answered_by_welcome(machine: ClientMachine) -> None:
    machine.hello("token", {"pid": 1})
    assert take(machine) == [(m.HELLO, {"pid": 1, "resume": (0, 0)})]
    assert machine.handle([(m.WELCOME, {"epoch": 5})]).answers == [Answer("token", True, {"epoch": 5})]
    assert machine.epoch == 5
    with pytest.raises(ProtocolError, match="second WELCOME"):
        machine.handle([(m.WELCOME, {})])


def test_hello_is_answered_by_refusal(machine: ClientMachine) -> None:
    machine.hello("token", {})
    effects = machine.handle([(m.REFUSED, "version", "too old")])
    assert effects.answers == [Answer("token", False, ("version", "too old"))]


def test_calls_are_answered_by_number(machine: ClientMachine) -> None:
    machine.call("a", "nthreads", ())
    machine.call("b", "explain", ("x",))
    (_, first, *_), (_, second, method, args) = take(machine)
    assert (method, args) == ("explain", ("x",))
    effects = machine.handle([(m.REPLY, second, False, ("usage", "no")), (m.REPLY, first, True, 2)])
    assert effects.answers == [Answer("b", False, ("usage", "no")), Answer("a", True, 2)]
    assert machine.handle([(m.REPLY, first, True, 3)]).answers == []


def test_fetch(machine: ClientMachine) -> None:
    machine.fetch("token", ("x", "y"))
    ((op, request, keys),) = take(machine)
    assert (op, keys) == (m.FETCH, ("x", "y"))
    effects = machine.handle([(m.DATA, request, (("x", b"1"),), (("y", "gone"),))])
    assert effects.answers == [Answer("token", True, ((("x", b"1"),), (("y", "gone"),)))]


def test_forgotten_requests_are_not_answered(machine: ClientMachine) -> None:
    machine.call("token", "nthreads", ())
    ((_, request, *_),) = take(machine)
    machine.forget_request("token")
    assert machine.handle([(m.REPLY, request, True, 1)]).answers == []


def test_cancel_settles_what_is_pending_when_granted(machine: ClientMachine) -> None:
    a, b = submit(machine, "a"), submit(machine, "b")
    machine.handle([memory("b")])
    take(machine)
    machine.cancel("token", [a, b], True, "enough")
    ((op, request, keys, force, reason),) = take(machine)
    assert (op, keys, force, reason) == (m.CANCEL, ("a", "b"), True, "enough")
    assert a.state == PENDING
    machine.handle([(m.REPLY, request, True, None)])
    assert (a.state, b.state) == (CANCELLED, FINISHED)
    assert a.ending.reason == "enough"


def test_retry_makes_failed_ones_pending(machine: ClientMachine) -> None:
    a, b = submit(machine, "a"), submit(machine, "b")
    machine.handle([failed("a"), memory("b")])
    take(machine)
    machine.retry("token", [a, b])
    ((op, request, keys),) = take(machine)
    assert (op, keys, a.state, b.state) == (m.RETRY, ("a",), PENDING, FINISHED)
    machine.handle([(m.REPLY, request, True, ("a",)), memory("a")])
    assert a.state == FINISHED


def test_a_refused_retry_restores_the_failure(machine: ClientMachine) -> None:
    a = submit(machine, "a")
    machine.handle([failed("a")])
    take(machine)
    machine.retry("token", [a])
    ((_, request, _),) = take(machine)
    machine.watch([a], "waiter")
    effects = machine.handle([(m.REPLY, request, False, ("usage", "no"))])
    assert (a.state, a.failure.text) == (ERROR, "E: 1")
    assert effects.settled == {"waiter": [a]}


def test_placed_data_is_held(machine: ClientMachine) -> None:
    (record,) = machine.placed("token", (("x", 3, 28, "int", ("w",)),))
    assert [message[0] for message in take(machine)] == [m.PLACED]
    assert (record.key, record.refs, record.state) == ("x", 1, PENDING)


def test_what_cannot_be_sent_fails_for_those_it_was_for(machine: ClientMachine) -> None:
    record = submit(machine, "x")
    machine.call("token", "explain", ("x",))
    submitted, called = take(machine)
    machine.watch([record], "waiter")
    messages = [submitted, called]
    assert machine.unsendable(messages, 0, "too large").settled == {"waiter": [record]}
    assert record.ending == (UsageError, "too large")
    assert machine.unsendable(messages, 1, "bad key").answers == [Answer("token", False, ("usage", "bad key"))]
    machine.link_lost("reset")
    welcome(machine)
    assert take(machine) == []


# ---- links that break -----------------------------------------------------------------------------------------------


def welcome(machine: ClientMachine, received: int = 0, grace: float = 30.0) -> None:
    """Over a new link: HELLO, WELCOME."""
    machine.hello("hello", {})
    assert [message[0] for message in take(machine)] == [m.HELLO]
    machine.handle([(m.WELCOME, {"epoch": 5, "grace_s": grace, "received": received})])


def test_a_client_that_is_away_keeps_its_futures_and_says_only_hello(machine: ClientMachine) -> None:
    welcome(machine)
    record = submit(machine, "x")
    (submitted,) = take(machine)
    assert machine.link_lost("reset").settled == {}
    assert (machine.away, record.state) == ("reset", PENDING)
    machine.want("y")
    assert take(machine) == []
    machine.hello("again", {"pid": 1})
    assert take(machine) == [(m.HELLO, {"pid": 1, "resume": (5, 0)})]
    machine.handle([(m.WELCOME, {"epoch": 5, "grace_s": 30.0, "received": 0})])
    assert take(machine) == [submitted, (m.WANT, ("y",))]


def test_what_is_to_be_sent_again_waits_for_nothing_new(machine: ClientMachine) -> None:
    welcome(machine)
    submit(machine, "x")
    sent = take(machine)
    machine.link_lost("reset")
    welcome(machine)
    assert machine.has_outbox
    assert take(machine) == sent
    assert not machine.has_outbox


@pytest.mark.parametrize("received", [0, 1, 2])
def test_what_the_scheduler_has_received_is_not_sent_again(machine: ClientMachine, received: int) -> None:
    welcome(machine)
    submit(machine, "x")
    sent = take(machine)
    machine.call("token", "nthreads", ())
    sent += take(machine)
    machine.link_lost("reset")
    welcome(machine, received)
    assert take(machine) == sent[received:]


def test_the_scheduler_is_told_how_much_has_arrived(machine: ClientMachine) -> None:
    welcome(machine)
    a, b = submit(machine, "a"), submit(machine, "b")
    take(machine)
    machine.handle([memory("a")])
    assert machine.owes_ack
    assert not machine.has_outbox
    machine.link_lost("reset")
    machine.hello("again", {})
    assert take(machine) == [(m.HELLO, {"resume": (5, 1)})]
    machine.handle([(m.WELCOME, {"epoch": 5, "grace_s": 30.0, "received": 1}), memory("b")])
    assert (a.state, b.state) == (FINISHED, FINISHED)
    machine.acknowledge()
    assert take(machine) == [(m.ACK, 2)]
    assert not machine.owes_ack


def test_values_are_acknowledged_at_once(machine: ClientMachine) -> None:
    machine.fetch("token", ("x",))
    ((_, request, _),) = take(machine)
    machine.handle([(m.DATA, request, (("x", b"1"),), ())])
    assert machine.has_outbox
    assert take(machine) == [(m.ACK, 1)]


def test_what_the_scheduler_has_acknowledged_is_forgotten(machine: ClientMachine) -> None:
    welcome(machine)
    submit(machine, "x")
    take(machine)
    machine.handle([(m.ACK, 1)])
    with pytest.raises(ProtocolError, match="2 messages were acknowledged of 1"):
        machine.handle([(m.ACK, 2)])


def test_an_attempt_to_come_back_may_fail(machine: ClientMachine) -> None:
    welcome(machine)
    record = submit(machine, "x")
    machine.link_lost("reset")
    machine.hello("again", {})
    take(machine)
    assert machine.link_lost("reset once more").answers == [Answer("again", False, ("link", "reset once more"))]
    assert (machine.away, record.state) == ("reset", PENDING)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([(m.GOODBYE, "maintenance")], "reset: maintenance"),
        ([], "reset"),
    ],
)
def test_a_client_that_is_not_expected_back_does_not_try(
    machine: ClientMachine, messages: list[m.Message], reason: str
) -> None:
    welcome(machine, grace=30.0 if messages else 0.0)
    record = submit(machine, "x")
    machine.handle(messages)
    machine.link_lost("reset")
    assert (machine.away, record.state) == ("", LOST)
    assert machine.closed == f"the connection to the scheduler was lost ({reason})"


def test_a_scheduler_that_was_started_anew_says_so(machine: ClientMachine) -> None:
    welcome(machine)
    record = submit(machine, "x")
    machine.link_lost("reset")
    machine.hello("again", {})
    refused = machine.handle([(m.REFUSED, "session", "it was started anew")])
    assert refused.answers == [Answer("again", False, ("session", "it was started anew"))]
    machine.link_lost("closed")
    text = "the connection to the scheduler was lost (closed: it was started anew); make a new Client, "
    assert record.ending == (ClosedError, f"{text}and submit again what is needed")


# ---- the end --------------------------------------------------------------------------------------------------------


def test_disconnection_takes_what_is_not_at_hand(machine: ClientMachine) -> None:
    records = [submit(machine, key) for key in "abcd"]
    machine.handle([memory("b", None), memory("c"), failed("d"), (m.GOODBYE, "maintenance")])
    machine.watch([records[0]], "waiter")
    machine.call("token", "nthreads", ())
    effects = machine.disconnected("peer closed")
    assert [record.state for record in records] == [LOST, LOST, FINISHED, ERROR]
    text = "the connection to the scheduler was lost (peer closed: maintenance)"
    assert records[0].ending == (ClosedError, text)
    assert effects.settled == {"waiter": [records[0]]}
    assert effects.answers == [Answer("token", False, ("closed", text))]
    assert machine.disconnected("again").answers == []


def test_closing_cancels_everything(machine: ClientMachine) -> None:
    records = [submit(machine, key) for key in "abcd"]
    machine.handle([memory("b"), failed("c"), (m.LOST, (("d", "how"),))])
    machine.close("client c was closed")
    assert [record.state for record in records] == [CANCELLED] * 4
    assert records[1].ending.reason == "client c was closed"


def test_a_closed_machine_takes_nothing(machine: ClientMachine) -> None:
    record = machine.want("x")
    take(machine)
    machine.close("client c was closed")
    for act in (
        lambda: submit(machine, "y"),
        lambda: machine.want("x"),
        lambda: machine.new_request(),
        lambda: machine.call("t", "nthreads", ()),
        lambda: machine.cancel("t", [record], False, ""),
    ):
        with pytest.raises(ClosedError, match="client c was closed"):
            act()
    machine.release([record])
    assert take(machine) == []


def test_illegal_moves_are_bugs() -> None:
    machine = ClientMachine()
    record = submit(machine, "x")
    machine.handle([failed("x")])
    with pytest.raises(InternalError, match="'x' may not move from error to lost"):
        machine._move(record, LOST, None)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda record: setattr(record, "key", "y"), "is filed under 'x'"),
        (lambda record: setattr(record, "refs", 0), "has 0 references"),
        (lambda record: setattr(record, "waiters", []), "still has waiters"),
        (lambda record: setattr(record, "state", FINISHED), "has no outcome"),
    ],
)
def test_check_finds_damage(damage: Any, text: str) -> None:
    machine = ClientMachine()
    damage(machine.want("x"))
    with pytest.raises(InternalError, match=text):
        machine.check()


# ---- whatever happens -----------------------------------------------------------------------------------------------

ACTS = st.tuples(
    st.sampled_from(["submit", "want", "drop", "flush", "retry", "cancel", "news", "reply"]), st.integers(0, 3)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(ACTS, st.sampled_from(list(NEWS))), max_size=40))
def test_no_outcome_changes_whatever_happens(acts: list[Any]) -> None:
    machine = ClientMachine()
    held: list[Record] = []
    seen: dict[Record, Any] = {}
    retried: set[Record] = set()
    sent: list[m.Message] = []
    for (act, number), news in acts:
        if act == "submit":
            held.append(submit(machine, f"k{number}"))
        elif act == "want":
            held.append(machine.want(f"k{number}"))
        elif act == "drop" and held:
            machine.release([held.pop(number % len(held))])
        elif act == "flush":
            sent += take(machine)
        elif act == "retry" and held:
            machine.retry(None, held[:1])
            retried.add(held[0])
        elif act == "cancel" and held:
            machine.cancel(None, held[:1], False, "")
        elif act == "news":
            op, ((_, *rest),) = NEWS[news]
            machine.handle([(op, ((f"k{number}", *rest),))])
        elif act == "reply":
            for message in sent:
                if message[0] in (m.RETRY, m.CANCEL):
                    machine.handle([(m.REPLY, message[1], True, None)])
            sent.clear()
        machine.check()
        for record in held:
            if record.state != PENDING and record not in retried:
                assert seen.setdefault(record, record.outcome) is record.outcome
