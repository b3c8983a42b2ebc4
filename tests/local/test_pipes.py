from __future__ import annotations

import io
import pickle

import pytest

from myscheduler.local.pipes import dumps, receive, send
from myscheduler.protocol.blob import Blob


def test_messages_arrive_as_they_were() -> None:
    stream = io.BytesIO()
    large = bytes(range(256)) * 1000
    send(stream, ("x", [Blob((b"stream", large, bytearray(large))), b"small"]))
    send(stream, None)
    stream.seek(0)
    name, (blob, small) = receive(stream)
    assert (name, small) == ("x", b"small")
    assert [bytes(buffer) for buffer in blob.buffers] == [b"stream", large, large]
    assert receive(stream) is None
    with pytest.raises(EOFError):
        receive(stream)


def test_half_a_message_is_none() -> None:
    stream = io.BytesIO()
    send(stream, "message")
    with pytest.raises(EOFError):
        receive(io.BytesIO(stream.getvalue()[:-1]))


def test_blobs_in_band() -> None:
    blob = pickle.loads(dumps(Blob((b"stream", memoryview(b"data")))))
    assert [bytes(buffer) for buffer in blob.buffers] == [b"stream", b"data"]
