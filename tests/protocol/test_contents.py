from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.protocol.contents import NBYTES_MAX, ORDER_MAX, THREADS_MAX
from myscheduler.protocol.messages import (
    ACK,
    CANCEL,
    ERRORS,
    FETCH,
    HEARTBEAT,
    HELLO,
    OPTION_FIELDS,
    PLACED,
    RELEASE,
    RESULTS,
    RETRY,
    SUBMIT,
    UNDEFINE,
    UNFETCHED,
    WANT,
    Message,
    Role,
    validate,
)

NO_TERMS = (None,) * (len(OPTION_FIELDS) - 5)
HELLO_INFO = {
    "versions": {"python": "3.11", "myscheduler": "1"},
    "name": "w",
    "host": "h",
    "address": "tcp://h:1",
    "pid": 7,
    "nthreads": 2,
    "memory_limit": 0,
    "resources": {"gpu": 1, "disk": 0.5},
}


def submit(workers: Any = None, resources: Any = None, order: int = 0, option: int = 0, wants: Any = None) -> Message:
    options = ((0, 0, workers, False, resources, *NO_TERMS),)
    return (SUBMIT, 1, (), options, (("x", b"f", b"args", (), order, option),), wants, False)


def result(nbytes: int = 8, start: float = 1.0, duration: float = 0.5) -> Message:
    return (RESULTS, (("x", 1, nbytes, "int", None, 1, start, duration),))


@pytest.mark.parametrize(
    ("role", "message"),
    [
        (Role.CLIENT, submit(("w", "h"), (("gpu", 1), ("disk", 0.5)), ORDER_MAX - 1, 0, (0,))),
        (Role.CLIENT, (WANT, ("x", ("y", 1), 7, 1.5, b"z"))),
        (Role.CLIENT, (PLACED, 1, (("x", 1, NBYTES_MAX, "int", ("c" * 16,)),))),
        (Role.WORKER, result(NBYTES_MAX, 0.0, 0.0)),
        (Role.WORKER, (UNFETCHED, (("x", 1, (("y", 0, "tcp://h"),)),))),
        (Role.WORKER, (HELLO, HELLO_INFO)),
        (Role.CLIENT, (HELLO, {"versions": {"python": "3.11"}})),
        (Role.CLIENT, (HELLO, {"resume": (2**63, 5)})),
        (Role.CLIENT, (ACK, 0)),
    ],
)
def test_sense_passes(role: Role, message: Message) -> None:
    assert validate(message, role) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ((ACK, -1), "ACK of -1 messages"),
        (submit(workers=(1,)), "SUBMIT: workers are not all texts"),
        (submit(resources=("gpu",)), "SUBMIT: resources are amounts by name, each name once, not 'gpu'"),
        (submit(resources=(("gpu", 1), ("gpu", 1))), "each name once"),
        (submit(resources=(("gpu", -1),)), "'gpu' is an amount from 0 on, not -1"),
        (submit(resources=(("gpu", nan),)), "from 0 on, not nan"),
        (submit(resources=(("gpu", inf),)), "from 0 on, not inf"),
        (submit(order=-1), "order -1 or option 0 of 1 is out of range"),
        (submit(order=ORDER_MAX), "order 4294967296"),
        (submit(option=1), "option 1 of 1"),
        (submit(option=-1), "option -1 of 1"),
        (submit(wants=(1,)), "1 is wanted of 1 tasks"),
        (submit(wants=("x",)), "'x' is wanted of 1 tasks"),
        ((WANT, ("x", None)), "WANT: a NoneType is among the keys"),
        ((RELEASE, (True,)), "RELEASE: a bool is among the keys"),
        ((CANCEL, 1, (None,), False, ""), "CANCEL: a NoneType"),
        ((RETRY, 1, (None,)), "RETRY: a NoneType"),
        ((FETCH, 1, (None,)), "FETCH: a NoneType"),
        ((UNDEFINE, ("f",)), "UNDEFINE: a str is among the func_ids"),
        ((PLACED, 1, (("x", 1, -1, "int", ()),)), "PLACED: a size of -1 bytes"),
        ((PLACED, 1, (("x", 1, 1, "int", (5,)),)), "PLACED: workers are not all texts"),
    ],
)
def test_nonsense_of_clients_is_named(message: Message, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        validate(message, Role.CLIENT)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (result(nbytes=-1), "RESULTS: -1 bytes"),
        (result(nbytes=NBYTES_MAX + 1), "RESULTS: 17592186044417 bytes"),
        (result(duration=nan), "for nan s"),
        (result(duration=-0.1), "for -0.1 s"),
        (result(start=inf), "from inf s on"),
        ((ERRORS, (("x", 1, b"", "", "", 1, 1.0, inf),)), "ERRORS: from 1.0 s on for inf s"),
        ((UNFETCHED, (("x", 1, ()),)), "UNFETCHED: a row names no input"),
        ((UNFETCHED, (("x", 1, ("y",)),)), "an input is an array of key, attempt and address"),
        ((UNFETCHED, (("x", 1, (("y", "1", "a"),)),)), "an input is an array of key, attempt and address"),
        ((HEARTBEAT, {str(i): i for i in range(1025)}), "HEARTBEAT: 1025 metrics; at most 1024 are allowed"),
        ((HELLO, {str(i): i for i in range(1025)}), "HELLO: 1025 entries"),
        ((HELLO, {**HELLO_INFO, "name": 7}), "name is a text of at most 256 characters, not 7"),
        ((HELLO, {**HELLO_INFO, "name": "x" * 257}), "name is a text of at most 256"),
        ((HELLO, {**HELLO_INFO, "nthreads": 0}), "nthreads is a number from 1 to 65536, not 0"),
        ((HELLO, {**HELLO_INFO, "nthreads": THREADS_MAX + 1}), "not 65537"),
        ((HELLO, {**HELLO_INFO, "nthreads": True}), "not True"),
        ((HELLO, {**HELLO_INFO, "memory_limit": -1}), "memory_limit is a number from 0"),
        ((HELLO, {**HELLO_INFO, "resources": {"gpu": "1"}}), "'gpu' is an amount from 0 on, not '1'"),
        ((HELLO, {**HELLO_INFO, "resources": ()}), "resources are amounts by name"),
        ((HELLO, {**HELLO_INFO, "versions": {"python": 3.11}}), "versions are texts by name"),
        ((HELLO, {**HELLO_INFO, "versions": None}), "versions are texts by name, not None"),
        ((HELLO, {**HELLO_INFO, "resume": (1,)}), r"resume is an epoch and a number of messages, not \(1,\)"),
        ((HELLO, {**HELLO_INFO, "resume": (1, -1)}), "HELLO: resume is an epoch and a number"),
        ((HELLO, {**HELLO_INFO, "resume": (1, True)}), "HELLO: resume is an epoch and a number"),
        ((HELLO, {**HELLO_INFO, "resume": "session"}), "not 'session'"),
    ],
)
def test_nonsense_of_workers_is_named(message: Message, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        validate(message, Role.WORKER)
