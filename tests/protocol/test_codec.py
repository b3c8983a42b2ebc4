from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest

from myscheduler.base.errors import ProtocolError, UsageError
from myscheduler.base.limits import CONTROL_BYTES_MAX
from myscheduler.protocol import codec
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.codec import HEADER, Encoder, Frame, decode, pack, unpack, unpack_all, unpack_control
from myscheduler.protocol.frames import FrameDecoder
from myscheduler.protocol.messages import FREE, GOODBYE, HEARTBEAT, RELEASE, RESULTS, Message


def decode_all(data: bytes) -> list[Frame]:
    decoder, frames = FrameDecoder(), []
    view = memoryview(data)
    while view:
        buffer = decoder.get_buffer()
        count = min(len(buffer), len(view))
        buffer[:count] = view[:count]
        view = view[count:]
        frames += decoder.received(count)
    return frames


def through(*messages: Message) -> list[Message]:
    frames = decode_all(b"".join(Encoder().encode(1, "a", 0, messages)))
    return [message for frame in frames for message in frame.messages]


@pytest.mark.parametrize(
    "message",
    [
        (GOODBYE, "done"),
        (HEARTBEAT, {"cpu": 1.5, "executing": 3, "nothing": None}),
        (FREE, (("x", 1), (("y", (2, b"z")), 2**63), (1.5, 0), (-5, 1))),
        (RESULTS, (("x", 1, 8, "int", b"\x80\x05.", 1, 0.5, 1e-9), ("y", 2, 8, "int", None, 1, 0.5, 0.0))),
        (GOODBYE, "lone surrogate \udc80"),
    ],
)
def test_messages_survive(message: Message) -> None:
    assert through(message) == [message]


def test_the_envelope_survives() -> None:
    (frame,) = decode_all(b"".join(Encoder().encode(2**40, "0123456789abcdef", 77, [(GOODBYE, "a"), (GOODBYE, "b")])))
    assert frame[:4] == (2**40, "0123456789abcdef", 77, ((GOODBYE, "a"), (GOODBYE, "b")))


def test_blobs_travel_raw_and_uncopied() -> None:
    array = np.arange(1000.0)
    blob = Blob((b"stream", memoryview(array.data), bytearray(b"")))
    other = Blob((b"other",))
    out = Encoder().encode(0, "a", 0, [(RESULTS, (("x", blob), ("y", other))), (RESULTS, (("z", other),))])
    assert any(isinstance(part, memoryview) and part.obj is array for part in out)
    (frame,) = decode_all(b"".join(out))
    received = frame.messages[0][1][0][1]
    assert isinstance(received, Blob)
    assert [bytes(buffer) for buffer in received.buffers] == [b"stream", array.tobytes(), b""]
    assert bytes(frame.messages[0][1][1][1].buffers[0]) == b"other"
    assert bytes(frame.messages[1][1][0][1].buffers[0]) == b"other"


def test_sizes_are_known_when_a_message_is_added() -> None:
    encoder = Encoder()
    nbytes = encoder.add((RESULTS, (("x", Blob((b"s" * 100, memoryview(np.zeros(1000).data)))),)))
    out, frames = encoder.take(0, "a", 0)
    assert frames == 1
    assert 8100 < nbytes < sum(len(bytes(part)) for part in out) < nbytes + 100


def test_batches_are_cut_into_frames() -> None:
    rows = tuple((f"key-{i}" * 20, i) for i in range(400))
    encoder = Encoder()
    for _ in range(40):
        encoder.add((FREE, rows))
    out, count = encoder.take(5, "a", 10)
    frames = decode_all(b"".join(out))
    assert count == len(frames) > 1
    assert [frame.sequence for frame in frames] == list(range(10, 10 + count))
    assert sum(len(frame.messages) for frame in frames) == 40
    assert encoder.take(5, "a", 50) == ([], 0)


def test_blobs_are_numbered_anew_in_each_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "BUFFERS_PER_FRAME_MAX", 3)
    messages = [(RESULTS, ((i, Blob((b"%d" % i, b"b"))),)) for i in range(5)]
    frames = decode_all(b"".join(Encoder().encode(0, "a", 0, messages)))
    assert len(frames) == 5
    assert [bytes(frame.messages[0][1][0][1].buffers[0]) for frame in frames] == [b"0", b"1", b"2", b"3", b"4"]
    with pytest.raises(UsageError, match="more than 3 buffers"):
        Encoder().add((RESULTS, (("x", Blob((b"",) * 4)),)))


def test_a_message_that_is_too_large_is_refused_where_it_is_made() -> None:
    encoder = Encoder()
    encoder.add((GOODBYE, "before"))
    with pytest.raises(UsageError, match=r"a RELEASE message takes 67\d+ bytes .* at most 67108864 can be sent"):
        encoder.add((RELEASE, (b"x" * CONTROL_BYTES_MAX,)))
    with pytest.raises(UsageError, match="a RELEASE message holds an array of 1100000 entries, at most 1048576"):
        encoder.add((RELEASE, (1,) * 1_100_000))
    encoder.add((GOODBYE, "after"))
    frames = decode_all(b"".join(encoder.take(0, "a", 0)[0]))
    assert [message[1] for frame in frames for message in frame.messages] == ["before", "after"]


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**64, 1j])
def test_what_does_not_travel_is_refused_where_it_is_made(value: Any) -> None:
    encoder = Encoder()
    with pytest.raises(UsageError, match="a HEARTBEAT message cannot be encoded"):
        encoder.add((HEARTBEAT, {"x": Blob((b"left behind",)), "y": value}))
    encoder.add((GOODBYE, "x"))
    out, _ = encoder.take(0, "a", 0)
    assert decode_all(b"".join(out))[0].messages == ((GOODBYE, "x"),)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "a frame is an array"),
        ([1, "a", 0], "a frame is an array"),
        (["x", "a", 0, []], "the envelope"),
        ([-1, "a", 0, []], "out of range"),
        ([0, "a" * 65, 0, []], "out of range"),
        ([0, "a", 0, [{1: 2}]], "cannot be decoded: ValueError"),
        ([0, "a", 0, [msgpack.ExtType(1, b"12345678")]], "a blob refers to buffers"),
        ([0, "a", 0, [msgpack.ExtType(1, bytes(8))]], "a blob refers to buffers 0 to 0"),
        ([0, "a", 0, [msgpack.ExtType(1, b"1")]], "unknown extension 1 of 1 bytes"),
        ([0, "a", 0, [msgpack.ExtType(4, b"12345678")]], "unknown extension 4"),
        ([0, "a", 0, [msgpack.ExtType(2, b"12345678")]], "the name of a segment has 8 bytes"),
    ],
)
def test_hostile_control_is_refused(value: Any, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        decode(msgpack.packb(value), [b"only one"])


@pytest.mark.parametrize(
    "control",
    [
        b"",
        b"\xc1",
        b"\x94",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\x00\x10\x00\x00",
        b"\xdb\xff\xff\xff\xff",
        b"\x94\x00\xa1a\x00\x90\x00",
        b"\x91" * 5000,
        b"\xa2\xff\xff",
    ],
)
def test_malformed_control_is_refused(control: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(control, ())


@pytest.mark.parametrize("head", [b"\xdc\xff\xff", b"\xdd\x00\x00\xff\x00"])
def test_arrays_inside_each_other_cannot_claim_what_is_not_there(head: bytes) -> None:
    control = b"\x94\x00\xa1a\x00" + head * 1000 + bytes(70_000)
    tracemalloc.start()
    with pytest.raises(ProtocolError, match="it ends before the arrays in it do"):
        decode(control, ())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(control) + 64 * 1024  # they claim 500 MB


def test_long_arrays_are_decoded() -> None:
    keys = tuple(f"key-{i}" for i in range(100_000))
    assert through((RELEASE, keys)) == [(RELEASE, keys)]


def test_maps_are_counted() -> None:
    def frame(count: int) -> bytes:
        return b"\x94\x00\xa1a\x00\xdd" + count.to_bytes(4) + b"\x80" * count

    assert len(decode(frame(codec.MAPS_PER_FRAME_MAX), ()).messages) == codec.MAPS_PER_FRAME_MAX
    with pytest.raises(ProtocolError, match="a frame with more than 65536 maps"):
        decode(frame(codec.MAPS_PER_FRAME_MAX + 1), ())


def test_the_header_is_fixed() -> None:
    data = b"".join(Encoder().encode(0, "a", 0, [(GOODBYE, Blob((b"xyz",)))]))
    control_length, count = HEADER.unpack(data[:8])
    assert count == 1
    assert int.from_bytes(data[8:16]) == 3
    assert data[16 + control_length :] == b"xyz"
    assert msgpack.unpackb(data[16 : 16 + control_length])[:3] == [0, "a", 0]


# ---- in files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 1.5, 2**63, "lone \udc80", b"\x00", (1, ("x", ())), {"a": {1: (b"", True)}}])
def test_values_survive_in_files(value: object) -> None:
    assert unpack(pack(value)) == value


def test_messages_are_read_from_a_frame_whose_buffers_are_gone() -> None:
    message = (RESULTS, (("x", 1, 10**6, "bytes", Blob((b"pickle", b"x" * 10**6)), 0, 0.5, 0.1),))
    control = bytes(Encoder().encode(1, "a", 0, [message])[0])[HEADER.size + 16 :]
    assert unpack_control(control) == ((RESULTS, (("x", 1, 10**6, "bytes", b"", 0, 0.5, 0.1),)),)


def test_a_stream_may_be_cut_anywhere() -> None:
    stream = b"".join(map(pack, ("x", (1, 2), {"a": 1})))
    assert list(unpack_all([stream[:1], stream[1:3], stream[3:]], "it")) == ["x", (1, 2), {"a": 1}]
    assert list(unpack_all([stream[:-1]], "it")) == ["x", (1, 2)]
    with pytest.raises(UsageError, match="this file cannot be read"):
        list(unpack_all([b"\xc1"], "this file"))
