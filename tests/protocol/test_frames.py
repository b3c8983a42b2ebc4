from __future__ import annotations

import resource
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myscheduler.base.errors import ProtocolError
from myscheduler.base.limits import BUFFER_BYTES_MAX, BUFFERS_PER_FRAME_MAX, CONTROL_BYTES_MAX, MIB
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.codec import Encoder, Frame
from myscheduler.protocol.frames import FrameDecoder
from myscheduler.protocol.messages import GOODBYE, RESULTS


def feed(decoder: FrameDecoder, data: bytes, cuts: list[int] | None = None) -> list[Frame]:
    """Receive ``data`` in steps of the given sizes (round and round), or as much as fits at a time."""
    frames: list[Frame] = []
    view, step = memoryview(data), 0
    while view:
        buffer = decoder.get_buffer()
        assert len(buffer) > 0
        count = min(len(buffer), len(view), cuts[step % len(cuts)] if cuts else len(view))
        buffer[:count] = view[:count]
        frames += decoder.received(count)
        view, step = view[count:], step + 1
    return frames


def feed_all(decoder: FrameDecoder, data: bytes, cuts: list[int]) -> list[Frame]:
    """The same into all buffers that the decoder offers."""
    frames: list[Frame] = []
    view, step = memoryview(data), 0
    while view:
        left = count = min(len(view), cuts[step % len(cuts)])
        for buffer in decoder.get_buffers():
            part = min(len(buffer), left)
            buffer[:part] = view[:part]
            view, left = view[part:], left - part
        assert left < count
        frames += decoder.received(count - left)
        step += 1
    return frames


def plain(frames: list[Frame]) -> list[object]:
    """Frames with blobs as bytes, so that they can be compared."""

    def convert(value: object) -> object:
        if isinstance(value, Blob):
            return [bytes(buffer) for buffer in value.buffers]
        return tuple(convert(part) for part in value) if isinstance(value, tuple) else value

    return [convert(frame[:4]) for frame in frames]


def stream(*batches: list[list[bytes]]) -> bytes:
    encoder, data = Encoder(), b""
    for number, blobs in enumerate(batches):
        message = (RESULTS, tuple((f"key-{i}", Blob(tuple(buffers))) for i, buffers in enumerate(blobs)))
        data += b"".join(encoder.encode(1, "a", number, [message, (GOODBYE, "x" * number)]))
    return data


LARGE = stream(
    [[b"s", b"x" * 100_000], [b"y" * 300_000]], [], [[b"z" * (2 * MIB + 3), b""]], [[b"w" * 200_000] * 3], []
)


MIXED = stream(
    [[b"s" * 27, b"x" * 100_000]] * 40, [[b"t" * 27, b"y" * 70_000, b""]] * 3, [[b"z" * n] for n in range(3000)],
    [[b"s", b"w" * 3 * MIB]] * 2, [[b"", b"v" * 600_000, b"", b""]] * 3, [[b"u" * 40_000]] * 9,
)  # fmt: skip


@pytest.mark.parametrize("cuts", [[3_000_000], [65_536], [100_027], [1, 200_000, 3], [70_000, 5_000_000, 99_999]])
def test_several_buffers_can_be_filled_at_once(cuts: list[int]) -> None:
    assert plain(feed_all(FrameDecoder(), MIXED, cuts)) == plain(feed(FrameDecoder(), MIXED))


def test_buffers_are_offered_ahead_but_not_too_many() -> None:
    decoder = FrameDecoder()
    data = stream([[b"s" * 27, b"x" * 100_000]] * 40)
    feed_all(decoder, data[:200_000], [200_000])
    offered = [len(buffer) for buffer in decoder.get_buffers()]
    assert offered[1:5] == [27, 100_000, 27, 100_000]
    assert 500_000 < sum(offered) <= MIB
    small = FrameDecoder()
    feed_all(small, stream([[b"s" * 27, b"x" * 100]] * 4000)[:150_000], [150_000])
    assert len(small.get_buffers()) == 1


@pytest.mark.parametrize("cuts", [None, [1], [7], [65_536], [131_072], [300_000], [1, 200_000, 3]])
def test_frames_do_not_depend_on_how_they_arrive(cuts: list[int] | None) -> None:
    data = LARGE if cuts is None or max(cuts) > 1000 else stream([[b"s", b"x" * 10_000], [b""]], [], [[b"y" * 100]])
    assert plain(feed(FrameDecoder(), data, cuts)) == plain(feed(FrameDecoder(), data))


@given(
    batches=st.lists(st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=3), max_size=4), max_size=6),
    cuts=st.lists(st.integers(1, 500), min_size=1, max_size=10),
)
@settings(max_examples=100, deadline=None)
def test_frames_do_not_depend_on_cuts(batches: list[list[list[bytes]]], cuts: list[int]) -> None:
    data = stream(*batches)
    frames = feed(FrameDecoder(), data, cuts)
    assert plain(frames) == plain(feed(FrameDecoder(), data))
    assert [frame.sequence for frame in frames] == list(range(len(batches)))


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_streams_raise_only_protocol_errors(data: st.DataObject) -> None:
    good = bytearray(stream([[b"stream", b"x" * 50]], [[b"y"]], []))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    try:
        frames = feed(FrameDecoder(), bytes(good[:cut]), [data.draw(st.integers(1, 100))])
    except ProtocolError:
        return
    assert all(isinstance(frame, Frame) for frame in frames)


@given(noise=st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_noise_raises_only_protocol_errors(noise: bytes) -> None:
    try:
        frames = feed(FrameDecoder(), noise)
    except ProtocolError:
        return
    assert all(isinstance(frame, Frame) for frame in frames)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (struct.pack("!II", 0, 0), "a control part of 0 bytes; 1 to"),
        (struct.pack("!II", CONTROL_BYTES_MAX + 1, 0), "a control part of 67108865 bytes"),
        (struct.pack("!II", 1, BUFFERS_PER_FRAME_MAX + 1), "a frame with 65537 buffers; at most 65536"),
        (struct.pack("!IIQ", 1, 1, BUFFER_BYTES_MAX + 1), "a buffer of .* bytes; at most"),
        (b"GET / HTTP/1.1\r\n\r\n", "a control part of 1195725856 bytes"),
    ],
)
def test_limits_are_enforced_on_announcement(header: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        feed(FrameDecoder(), header)


def test_memory_grows_with_what_arrived_not_with_what_was_announced() -> None:
    control = b"\x94\x00\xa1a\x00\x90"
    decoders = [FrameDecoder() for _ in range(8)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for decoder in decoders:
        announced = struct.pack("!IIQ", len(control), 1, 1024 * MIB)
        assert feed(decoder, announced + control + b"x" * 1000) == []
        assert len(decoder.get_buffer()) == 1024 * MIB - 1000
        assert feed(FrameDecoder(), struct.pack("!II", CONTROL_BYTES_MAX, 0) + b"\x94") == []
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024  # KiB; 8.5 GiB were announced


def test_many_empty_buffers_take_little_more_than_their_lengths_did() -> None:
    count = BUFFERS_PER_FRAME_MAX
    data = struct.pack("!II", 6, count) + bytes(8 * count) + b"\x94\x00\xa1a\x00\x90"
    decoder = FrameDecoder()
    tracemalloc.start()
    assert len(feed(decoder, data)) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * len(data)  # one object of 56 bytes for 8


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (struct.pack("!II", 2**31, 0), "a control part of 2147483648 bytes"),
        (struct.pack("!II", 2**32 - 1, 2**32 - 1), "a control part of 4294967295 bytes"),
        (struct.pack("!II", 1, 2**32 - 1), "a frame with 4294967295 buffers"),
        (struct.pack("!IIQ", 1, 1, 2**63), "a buffer of 9223372036854775808 bytes"),
        (struct.pack("!II", 10_005, 0) + b"\x94\x00\xa1a\x00" + b"\x91" * 10_000, "cannot be decoded: .*Stack"),
    ],
)
def test_claims_are_refused_at_once_and_cost_nothing(claim: bytes, text: str) -> None:
    decoder = FrameDecoder()
    tracemalloc.start()
    with pytest.raises(ProtocolError, match=text):
        feed(decoder, claim)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MIB


def test_large_buffers_are_received_where_they_stay() -> None:
    data = stream([[b"x" * (2 * MIB)]])
    decoder = FrameDecoder()
    assert feed(decoder, data[:100_000]) == []
    place = decoder.get_buffer()
    place[:4] = b"1234"
    offset = 2 * MIB - len(place)
    decoder.received(4)
    (frame,) = feed(decoder, data[100_004:])
    buffer = frame.messages[0][1][0][1].buffers[0]
    assert bytes(buffer[offset : offset + 4]) == b"1234"
    buffer[0] = 7  # ours to write to


def test_memory_may_come_from_elsewhere() -> None:
    asked: list[int] = []

    def allocate(nbytes: int) -> memoryview:
        asked.append(nbytes)
        return memoryview(bytearray(nbytes))

    (frame,) = feed(FrameDecoder(allocate), stream([[b"s", b"x" * 100_000]]))
    assert bytes(frame.messages[0][1][0][1].buffers[1]) == b"x" * 100_000
    assert asked == [100_000]
