from __future__ import annotations

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.protocol import messages as m
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.codec import HEADER, Encoder
from myscheduler.protocol.records import pack, unpack, unpack_all, unpack_control


@pytest.mark.parametrize("value", [None, 1.5, 2**63, "lone \udc80", b"\x00", (1, ("x", ())), {"a": {1: (b"", True)}}])
def test_values_survive(value: object) -> None:
    assert unpack(pack(value)) == value


def test_messages_are_read_from_a_frame_whose_buffers_are_gone() -> None:
    message = (m.RESULTS, (("x", 1, 10**6, "bytes", Blob((b"pickle", b"x" * 10**6)), 0, 0.5, 0.1),))
    control = bytes(Encoder().encode(1, "a", 0, [message])[0])[HEADER.size + 16 :]
    assert unpack_control(control) == ((m.RESULTS, (("x", 1, 10**6, "bytes", b"", 0, 0.5, 0.1),)),)


def test_a_stream_may_be_cut_anywhere() -> None:
    stream = b"".join(map(pack, ("x", (1, 2), {"a": 1})))
    assert list(unpack_all([stream[:1], stream[1:3], stream[3:]], "it")) == ["x", (1, 2), {"a": 1}]
    assert list(unpack_all([stream[:-1]], "it")) == ["x", (1, 2)]
    with pytest.raises(UsageError, match="this file cannot be read"):
        list(unpack_all([b"\xc1"], "this file"))
