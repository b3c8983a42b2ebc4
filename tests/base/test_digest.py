from __future__ import annotations

import hmac
import itertools
from hashlib import blake2b

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from myscheduler.base import digest as module
from myscheduler.base.digest import DIGEST_BYTES, KEYED_PART_BYTES, PART_BYTES, KeyedDigest, digest

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


class TestKeyedDigest:
    SIZES = [0, 1, KEYED_PART_BYTES - 1, KEYED_PART_BYTES, KEYED_PART_BYTES + 1, 3 * KEYED_PART_BYTES + 7]

    @pytest.mark.parametrize("nbytes", SIZES)
    def test_every_byte_counts(self, nbytes: int) -> None:
        keyed = KeyedDigest(b"secret")
        data = bytearray(nbytes)
        before = keyed(data)
        assert len(before) == DIGEST_BYTES
        for position in {0, nbytes // 2, nbytes - 1} if nbytes else ():
            data[position] ^= 1
            assert keyed(data) != before
            data[position] ^= 1
        assert keyed(memoryview(data)) == keyed(bytes(data)) == before

    def test_lengths_count(self) -> None:
        assert len({KeyedDigest(b"secret")(bytes(nbytes)) for nbytes in self.SIZES}) == len(self.SIZES)

    def test_the_order_of_parts_counts(self) -> None:
        keyed = KeyedDigest(b"secret")
        parts = [bytes([number]) * KEYED_PART_BYTES for number in range(3)]
        orders = itertools.permutations(parts)
        assert len({keyed(b"".join(order)) for order in orders}) == 6

    def test_whoever_has_the_secret_gets_the_same(self) -> None:
        data = bytes(2 * KEYED_PART_BYTES)
        assert KeyedDigest(b"a")(data) == KeyedDigest(b"a")(data)
        assert len({KeyedDigest(b"a")(data), KeyedDigest(b"b")(data), digest(data)}) == 3

    def test_it_shows_nothing_that_the_secret_point_could_be_computed_from(self) -> None:
        # Sums of GMAC under one nonce would give it away: they must not be seen.
        keyed = KeyedDigest(b"secret")
        key = hmac.digest(b"secret", b"myscheduler/v1|names", "sha256")[:16]
        data = bytes(KEYED_PART_BYTES)
        sum_ = AESGCM(key).encrypt(bytes(12), b"", data)
        assert len(sum_) == DIGEST_BYTES
        assert keyed(data) not in (sum_, blake2b(sum_, digest_size=DIGEST_BYTES).digest())
