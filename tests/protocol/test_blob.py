from __future__ import annotations

import numpy as np

from myscheduler.protocol.blob import Blob, payload_nbytes


def test_sizes_are_in_bytes_whatever_the_buffers_hold() -> None:
    blob = Blob((b"stream", bytearray(3), memoryview(np.zeros((2, 5), "f8").data)))
    assert blob.nbytes == 6 + 3 + 80
    assert payload_nbytes(blob) == 89
    assert payload_nbytes(b"1234") == 4
    assert repr(blob) == "<Blob of 89 bytes in 3 buffers>"
