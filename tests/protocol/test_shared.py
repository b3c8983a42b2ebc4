from __future__ import annotations

import re

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.base.limits import BUFFER_BYTES_MAX, BUFFERS_PER_FRAME_MAX
from myscheduler.protocol import messages as m
from myscheduler.protocol.codec import HEADER as FRAME_HEADER
from myscheduler.protocol.codec import Encoder, decode
from myscheduler.protocol.shared import (
    ALIGNMENT,
    ENCODED_BYTES_MAX,
    HEADER,
    PIPES_PER_BLOB_MAX,
    PipedBlob,
    SharedBlob,
    divide,
    lay_out,
)

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


# ---- pipes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("descriptors", [(3,), (3, 5, 9, 7), tuple(range(PIPES_PER_BLOB_MAX))])
def test_pipes_survive_the_wire(descriptors: tuple[int, ...]) -> None:
    piped = PipedBlob(7, descriptors, TOKEN, ((63, 5), (0, BUFFER_BYTES_MAX), (16, 0)))
    control = b"".join(Encoder().encode(0, "a", 0, [(m.SHARED, 1, (("x", piped),), ())]))
    (message,) = decode(control[FRAME_HEADER.size :], ()).messages
    m.validate(message, m.Role.WORKER)
    found = message[2][0][1]
    assert (found, hash(found)) == (piped, hash(piped))
    assert (found.pid, found.descriptors, found.token, found.spans) == (7, descriptors, TOKEN, piped.spans)
    assert piped != "something else"


def test_the_longest_names_fit() -> None:
    pipes = PipedBlob(7, tuple(range(PIPES_PER_BLOB_MAX)), TOKEN, ((0, 1),) * BUFFERS_PER_FRAME_MAX)
    segment = SharedBlob(7, 3, TOKEN, lay_out([1] * BUFFERS_PER_FRAME_MAX)[0])
    assert max(len(pipes.encode()), len(segment.encode())) <= ENCODED_BYTES_MAX


@pytest.mark.parametrize(
    ("pid", "descriptors", "token", "spans", "text"),
    [
        (0, (3,), TOKEN, ((0, 5),), "a pipe of process 0"),
        (7, (3,), b"short", ((0, 5),), "a token of 5 bytes"),
        (7, (), TOKEN, ((0, 5),), r"pipes \(\); 1 to 16 different ones"),
        (7, (3, 5, 3), TOKEN, ((0, 5),), r"pipes \(3, 5, 3\); 1 to 16 different ones"),
        (7, tuple(range(17)), TOKEN, ((0, 5),), "1 to 16 different ones"),
        (7, (3,), TOKEN, (), "a pipe with 0 buffers"),
        (7, (3,), TOKEN, ((0, 5), (64, 5)), "a buffer of 5 bytes, 64 behind a multiple of 64"),
        (7, (3,), TOKEN, ((-1, 5),), "a buffer of 5 bytes, -1 behind"),
        (7, (3,), TOKEN, ((0, -1),), "a buffer of -1 bytes"),
        (7, (3,), TOKEN, ((0, BUFFER_BYTES_MAX + 1),), "a buffer of"),
    ],
)
def test_what_no_pipe_is_like_is_refused(
    pid: int, descriptors: tuple[int, ...], token: bytes, spans: tuple, text: str
) -> None:
    with pytest.raises(ProtocolError, match=text):
        PipedBlob(pid, descriptors, token, spans)


@pytest.mark.parametrize(
    ("count", "length", "text"),
    [
        (0, 0, "the name of a pipe has 0 bytes"),
        (0, 20, "the name of a pipe has 20 bytes"),
        (0, 37, "pipes ()"),
        (1, 25, "the name of 1 pipes has 25 bytes"),
        (1, 40, "the name of 1 pipes has 40 bytes"),
        (2, 41, "the name of 2 pipes has 41 bytes"),
        (255, 41, "the name of 255 pipes has 41 bytes"),
    ],
)
def test_names_of_pipes_of_a_wrong_length_are_refused(count: int, length: int, text: str) -> None:
    data = (b"\0\0\0\x07" + bytes([count]) + TOKEN + bytes(range(100)))[:length]
    with pytest.raises(ProtocolError, match=re.escape(text)):
        PipedBlob.decode(data)


@pytest.mark.parametrize(("nbytes", "count"), [(0, 1), (0, 4), (1, 4), (5, 4), (10, 3), (2**40 + 1, 16)])
def test_parts_are_equal_and_leave_nothing_out(nbytes: int, count: int) -> None:
    parts = divide(nbytes, count)
    assert len(parts) == count
    assert [begin for begin, _ in parts] == [0, *(end for _, end in parts[:-1])]
    assert parts[-1][1] == nbytes
    lengths = [end - begin for begin, end in parts]
    assert lengths == sorted(lengths, reverse=True)
    assert sum(lengths[0] - length for length in lengths) < count * (1 + lengths[0])
