from __future__ import annotations

import pytest

from myscheduler.base import digest as module
from myscheduler.base.digest import DIGEST_BYTES, PART_BYTES, digest

SIZES = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 4 * PART_BYTES, 5 * PART_BYTES + 7]


@pytest.mark.parametrize("nbytes", SIZES)
def test_every_byte_counts(nbytes: int) -> None:
    data = bytearray(nbytes)
    before = digest(data)
    assert len(before) == DIGEST_BYTES
    for position in {0, nbytes // 2, nbytes - 1} if nbytes else ():
        data[position] ^= 1
        assert digest(data) != before
        data[position] ^= 1
    assert digest(memoryview(data)) == digest(bytes(data)) == before


def test_lengths_count() -> None:
    assert len({digest(bytes(nbytes)) for nbytes in SIZES}) == len(SIZES)


def test_processors_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * (5 * PART_BYTES // 256)
    found = set()
    for count in (1, 2, 64):
        monkeypatch.setattr(module, "cpu_count", lambda count=count: count)
        found.add(digest(data))
    assert len(found) == 1
