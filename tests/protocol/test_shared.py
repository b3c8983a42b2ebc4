from __future__ import annotations

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.base.limits import BUFFER_BYTES_MAX
from myscheduler.protocol import messages as m
from myscheduler.protocol.codec import HEADER as FRAME_HEADER
from myscheduler.protocol.codec import Encoder, decode
from myscheduler.protocol.shared import ALIGNMENT, HEADER, SharedBlob, lay_out

TOKEN = b"0123456789abcdef"


def test_buffers_are_aligned_and_do_not_overlap() -> None:
    spans, end = lay_out([1, 0, 64, 65, 10**9])
    at = HEADER.size
    for offset, length in spans:
        assert offset % ALIGNMENT == 0
        assert offset >= at
        at = offset + length
    assert end == at


def test_it_survives_the_wire() -> None:
    spans, end = lay_out([5, 1000])
    shared = SharedBlob(7, 3, TOKEN, spans)
    control = b"".join(Encoder().encode(0, "a", 0, [(m.SHARED, 1, (("x", shared), ("y", b"small")), ())]))
    (message,) = decode(control[FRAME_HEADER.size :], ()).messages
    m.validate(message, m.Role.WORKER)
    assert message == (m.SHARED, 1, (("x", shared), ("y", b"small")), ())
    assert (message[2][0][1].end, hash(message[2][0][1])) == (end, hash(shared))
    assert shared != "something else"


@pytest.mark.parametrize(
    "message",
    [
        (m.DATA, 1, (("x", SharedBlob(7, 3, TOKEN, ((64, 5),))),), ()),
        (m.RESULTS, (("x", 1, 8, "int", SharedBlob(7, 3, TOKEN, ((64, 5),)), 1, 0.5, 0.0),)),
    ],
)
def test_it_stays_on_data_links(message: tuple) -> None:
    with pytest.raises(ProtocolError, match="is a SharedBlob"):
        m.validate(message, m.Role.WORKER)


def test_only_workers_share() -> None:
    for role in (m.Role.CLIENT, m.Role.SCHEDULER):
        with pytest.raises(ProtocolError, match="may not send SHARED"):
            m.validate((m.SHARED, 1, (), ()), role)


@pytest.mark.parametrize(
    ("pid", "token", "spans", "text"),
    [
        (0, TOKEN, ((64, 5),), "a segment of process 0"),
        (7, b"short", ((64, 5),), "a token of 5 bytes"),
        (7, TOKEN, (), "a segment with 0 buffers"),
        (7, TOKEN, ((0, 5),), "at offset 0 of a segment, after 64"),
        (7, TOKEN, ((65, 5),), "at offset 65"),
        (7, TOKEN, ((64, 65), (128, 5)), "at offset 128 of a segment, after 129"),
        (7, TOKEN, ((128, 5), (64, 5)), "at offset 64 of a segment, after 133"),
        (7, TOKEN, ((64, -1),), "a buffer of -1 bytes"),
        (7, TOKEN, ((64, BUFFER_BYTES_MAX + 1),), "a buffer of"),
        (7, TOKEN, ((2 * BUFFER_BYTES_MAX, 1),), "a buffer of 1 bytes"),
    ],
)
def test_what_no_segment_looks_like_is_refused(pid: int, token: bytes, spans: tuple, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        SharedBlob(pid, 3, token, spans)


@pytest.mark.parametrize("length", [0, 24, 25, 39, 41])
def test_names_of_a_wrong_length_are_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match=f"the name of a segment has {length} bytes"):
        SharedBlob.decode(bytes(length))
