from __future__ import annotations

import os

import numpy as np
import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.pickling import dumps, loads
from myscheduler.protocol.shared import SharedBlob
from myscheduler.transport import segments as module
from myscheduler.transport.segments import Segment, Segments
from myscheduler.transport.shared import mapped_bytes, open_shared
from tests.transport.peer import MIB, Peer

NBYTES = 2 * MIB


@pytest.fixture
def segments():
    made = Segments(16 * MIB)
    yield made
    made.close()
    assert (len(made), made.nbytes) == (0, 0)


def blob(fill: int, nbytes: int = NBYTES) -> Blob:
    return Blob((b"stream", bytes([fill]) * nbytes))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_shared_is_what_was_put_in(segments: Segments) -> None:
    array = np.arange(1_000_000.0)
    payload = dumps({"x": array, "y": [1, 2, array[:500_000].copy()]})
    assert isinstance(payload, Blob)
    shared = segments.share(("k", 1), payload)
    assert shared is not None
    value = loads(open_shared(shared))
    assert np.array_equal(value["x"], array)
    assert np.array_equal(value["y"][2], array[:500_000])
    assert value["x"].ctypes.data % 64 == value["y"][2].ctypes.data % 64 == 0


def test_what_one_writes_nobody_else_sees(segments: Segments) -> None:
    shared = segments.share(("k", 1), blob(7))
    assert shared is not None
    mine, others = open_shared(shared), open_shared(shared)
    memoryview(mine.buffers[1])[:2] = b"\x01\x01"
    assert bytes(others.buffers[1][:2]) == b"\x07\x07"
    assert bytes(mine.buffers[1][:3]) == b"\x01\x01\x07"


def test_the_same_data_is_copied_once(segments: Segments) -> None:
    first = segments.share(("k", 1), blob(7))
    assert segments.share(("k", 1), blob(8)) == first == segments.find(("k", 1))
    assert len(segments) == 1
    assert segments.find(("k", 2)) is None


def test_a_segment_is_used_again_only_when_nobody_has_it(segments: Segments) -> None:
    first = segments.share(("k", 1), blob(1))
    assert first is not None
    held = open_shared(first)
    assert len(segments.forget([("k", 1)])) == 1
    second = segments.share(("k", 2), blob(2))
    assert second is not None
    assert second.descriptor != first.descriptor
    assert held.buffers[1][0] == 1
    del held
    third = segments.share(("k", 3), blob(3, NBYTES - 1000))
    assert third is not None
    assert third.descriptor == first.descriptor
    assert open_shared(third).buffers[1] == blob(3, NBYTES - 1000).buffers[1]
    with pytest.raises(ProtocolError, match="does not hold that data any more"):
        open_shared(first)


def test_one_array_keeps_all_of_its_segment(segments: Segments) -> None:
    shared = segments.share(("k", 1), Blob((b"stream", b"\x01" * NBYTES, b"\x02" * NBYTES)))
    assert shared is not None
    last = open_shared(shared).buffers[2]
    (segment,) = segments.forget([("k", 1)])
    assert not segment.unused
    assert mapped_bytes() == shared.end
    del last
    assert segment.unused
    assert mapped_bytes() == 0


def test_who_was_told_and_comes_late_is_refused(segments: Segments) -> None:
    shared = segments.share(("k", 1), blob(1))
    assert shared is not None
    segments.forget([("k", 1)])
    with pytest.raises(ProtocolError, match="does not hold that data any more"):
        open_shared(shared)
    segments.close()
    with pytest.raises((OSError, ProtocolError)):
        open_shared(shared)


def test_a_killed_reader_costs_nothing(segments: Segments) -> None:
    with Peer() as peer:
        shared = segments.share(("k", 1), blob(7))
        assert shared is not None
        assert peer.ask("map", shared.encode().hex()) == "7000"
        (segment,) = segments.forget([("k", 1)])
        other = segments.share(("k", 2), blob(2))
        assert other is not None
        assert other.descriptor != shared.descriptor
        assert not segment.unused
        peer.kill()
        assert segment.unused
        again = segments.share(("k", 3), blob(3))
        assert again is not None
        assert again.descriptor == shared.descriptor


def test_a_reader_keeps_what_its_killed_owner_shared() -> None:
    with Peer() as peer:
        shared = SharedBlob.decode(bytes.fromhex(peer.ask("share")))
        held = open_shared(shared)
        peer.kill()
        assert sum(held.buffers[1][-1000:]) == 7000
        with pytest.raises(OSError, match="No such file"):
            open_shared(shared)
        del held
    assert mapped_bytes() == 0


def test_others_can_neither_write_nor_resize(segments: Segments) -> None:
    shared = segments.share(("k", 1), blob(7))
    assert shared is not None
    writable = os.open(f"/proc/self/fd/{shared.descriptor}", os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            os.pwrite(writable, b"x", 100)
        for size in (0, 100 * MIB):
            with pytest.raises(PermissionError):
                os.ftruncate(writable, size)
    finally:
        os.close(writable)


def test_there_is_a_limit(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    assert segments.share(("large", 1), blob(1, 17 * MIB)) is None
    names = [segments.share(("k", number), blob(number, 4 * MIB)) for number in range(4)]
    assert [name is not None for name in names] == [True, True, True, False]  # the first may still be being opened
    assert segments.nbytes <= segments.limit
    segments.forget([("k", 0)])
    assert segments.share(("k", 3), blob(3, 5 * MIB)) is not None  # the empty one is too small, and makes room
    monkeypatch.setattr(module, "GRACE_S", -1.0)
    assert segments.share(("k", 4), blob(4, 12 * MIB)) is not None
    assert segments.find(("k", 1)) is None
    assert segments.nbytes <= segments.limit


def test_the_number_of_segments_has_a_limit(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENTS_MAX", 2)
    assert [segments.share(("k", number), blob(1)) is not None for number in range(3)] == [True, True, False]


def test_what_is_not_used_is_given_back(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = segments.share(("k", 1), blob(7))
    assert shared is not None
    held = open_shared(shared)
    segments.sweep(lambda owner: True)
    assert len(segments) == 1
    monkeypatch.setattr(module, "IDLE_S", -1.0)
    segments.sweep(lambda owner: True)
    assert segments.find(("k", 1)) == shared  # somebody has it open, so it costs nothing
    del held
    segments.sweep(lambda owner: True)
    assert segments.find(("k", 1)) is None
    segments.sweep(lambda owner: True)
    assert (len(segments), segments.nbytes) == (0, 0)


def test_data_that_is_gone_leaves_its_segment(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    segments.share(("k", 1), blob(7))
    monkeypatch.setattr(module, "IDLE_S", -1.0)
    segments.sweep(lambda owner: False)
    assert segments.find(("k", 1)) is None


def test_a_segment_warms_up_until_it_is_wanted(segments: Segments) -> None:
    segments.share(("k", 1), blob(7))
    (segment,) = segments.forget([("k", 1)])
    segment.warm_up(lambda: True)
    assert not segment.warm
    segments.warm_up(segment)
    assert segment.warm
    assert segments.share(("k", 2), blob(8)) is not None
    assert segments.forget([("k", 2)]) == []  # it stays warm
    segments.close()
    segments.warm_up(segment)


def test_without_a_kernel_that_tells_who_has_it_nothing_is_shared(
    segments: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    monkeypatch.setattr(Segment, "unused", True)
    assert segments.share(("k", 1), blob(7)) is None
    assert segments.place == ""
    assert descriptors() == before


def test_a_forked_child_shares_nothing(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_pid", -1)
    assert segments.share(("k", 1), blob(7)) is None


def test_no_descriptor_is_left_behind(segments: Segments) -> None:
    assert segments.share(("k", 0), blob(0)) is not None
    segments.forget([("k", 0)])
    before = descriptors()
    payload = blob(7)
    for number in range(1, 1001):
        shared = segments.share(("k", number), payload)
        assert shared is not None
        assert open_shared(shared).buffers[1][-1] == 7
        segments.forget([("k", number)])
    assert len(segments) == 1
    assert descriptors() == before
    assert mapped_bytes() == 0
