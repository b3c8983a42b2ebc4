from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myscheduler.base.errors import ProtocolError
from myscheduler.base.limits import ROWS_PER_MESSAGE_MAX
from myscheduler.protocol import messages
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.messages import (
    CALL,
    COMPUTE,
    FREE,
    GOODBYE,
    HEARTBEAT,
    HELLO,
    IN_MEMORY,
    OBSERVE,
    REPLY,
    RESULTS,
    SPECS,
    SUBMIT,
    UNFETCHED,
    WANT,
    Role,
    Rows,
    in_slices,
    validate,
)

#: One valid value for each type a field may have.
SAMPLES: dict[type, Any] = {
    int: 0,
    float: 1.5,
    str: "x",
    bytes: b"x",
    bool: True,
    tuple: (),
    dict: {},
    Blob: Blob((b"x",)),
    type(None): None,
    object: None,
}


def sample(op: int) -> tuple[Any, ...]:
    """A valid message with one row in each of its tables."""
    if op == UNFETCHED:
        return (op, (("x", 1, (("y", 1, "tcp://host:1"),)),))
    fields: list[Any] = []
    for field in SPECS[op].fields:
        if isinstance(field, Rows):
            fields.append((tuple(SAMPLES[types[0]] for types in field.fields),))
        else:
            fields.append(SAMPLES[field[0]])
    return (op, *fields)


def accepted(message: Any, role: Role) -> bool:
    """Whether a message is valid; any other error than a protocol error fails the test."""
    try:
        validate(message, role)
    except ProtocolError:
        return False
    return True


@pytest.mark.parametrize("op", SPECS)
def test_every_message_may_be_sent_by_its_senders_only(op: int) -> None:
    for role in Role:
        if role in SPECS[op].senders:
            validate(sample(op), role)
        else:
            with pytest.raises(ProtocolError, match=f"a {role} may not send {SPECS[op].name}"):
                validate(sample(op), role)


@pytest.mark.parametrize("op", SPECS)
def test_every_message_has_its_number_of_fields(op: int) -> None:
    sender = min(SPECS[op].senders)
    with pytest.raises(ProtocolError, match=f"{SPECS[op].name} has"):
        validate((*sample(op), 0), sender)


@pytest.mark.parametrize("op", [op for op in SPECS if SPECS[op].fields and op != REPLY])
def test_every_field_has_its_type(op: int) -> None:
    sender = min(SPECS[op].senders)
    for position in range(1, len(SPECS[op].fields) + 1):
        damaged = list(sample(op))
        damaged[position] = object()
        with pytest.raises(ProtocolError, match=SPECS[op].name):
            validate(tuple(damaged), sender)


def test_names_and_numbers_are_those_of_the_module() -> None:
    assert {spec.name: op for op, spec in SPECS.items()} == {
        name: value for name, value in vars(messages).items() if name in {spec.name for spec in SPECS.values()}
    }


@pytest.mark.parametrize(
    ("message", "role", "text"),
    [
        (None, Role.CLIENT, "a message is an array that starts with its op"),
        ((), Role.CLIENT, "a message is an array"),
        (("x",), Role.CLIENT, "a message is an array"),
        ([OBSERVE], Role.OBSERVER, "a message is an array"),
        ((True,), Role.OBSERVER, "a message is an array"),
        ((999,), Role.CLIENT, "unknown op 999"),
        ((FREE, [("x", 1)]), Role.SCHEDULER, "FREE: rows are a list, not an array"),
        ((FREE, (["x", 1],)), Role.SCHEDULER, "FREE: a row is a list, not an array"),
        ((FREE, (("x",),)), Role.SCHEDULER, "FREE: a row has 1 fields, not 2"),
        ((FREE, (("x", True),)), Role.SCHEDULER, "FREE: field 1 of a row is a bool"),
        ((FREE, ((None, 1),)), Role.SCHEDULER, "FREE: field 0 of a row is a NoneType"),
        ((FREE, (("x", 1),) * 513), Role.SCHEDULER, "FREE: 513 rows, at most 512 are allowed"),
        ((FREE, ((({},), 1),)), Role.SCHEDULER, "FREE: a key holds a map"),
        ((WANT, ("x", ("y", {}))), Role.CLIENT, "WANT: a key holds a map"),
        ((HELLO, "x"), Role.CLIENT, "HELLO: unexpected str"),
    ],
)
def test_what_is_wrong_is_said(message: Any, role: Role, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        validate(message, role)


def test_anything_may_be_replied() -> None:
    for value in (None, 5, "x", (1, 2), {"a": 1}, ({},)):
        assert accepted((REPLY, 1, True, value), Role.SCHEDULER)
    assert accepted((CALL, 1, "method", ({"a": 1},)), Role.CLIENT)


def test_optional_payloads_may_be_left_out() -> None:
    for payload in (None, b"x", Blob((b"x",))):
        assert accepted((IN_MEMORY, (("x", 1, "int", payload, None),)), Role.SCHEDULER)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda part: st.lists(part, max_size=4).map(tuple) | st.dictionaries(st.text(max_size=3), part, max_size=3),
    max_leaves=10,
)


@given(op=st.sampled_from([SUBMIT, COMPUTE, RESULTS, HEARTBEAT, GOODBYE, 7]), fields=st.lists(junk, max_size=6))
def test_junk_raises_only_protocol_errors(op: int, fields: list[Any]) -> None:
    assert [accepted((op, *fields), role) for role in Role].count(True) <= len(Role)


def test_rows_are_sliced() -> None:
    rows = [(f"k{i}", i) for i in range(2 * ROWS_PER_MESSAGE_MAX + 1)]
    sliced = in_slices(rows, lambda part: (FREE, part))
    assert [len(message[1]) for message in sliced] == [512, 512, 1]
    assert [row for message in sliced for row in message[1]] == rows
    assert in_slices([], lambda part: (FREE, part)) == [(FREE, ())]
