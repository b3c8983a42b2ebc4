"""Digests of data: ``digest`` is the same everywhere; ``KeyedDigest`` only for who shares a secret, and much faster."""

from __future__ import annotations

import hmac
from hashlib import blake2b, sha256
from typing import Any, Final

from .limits import MIB
from .system import cpu_count

DIGEST_BYTES: Final = 16
#: Larger data is cut into parts of so many bytes, each with a digest of its own. Processors of the last years have
#: instructions for SHA-256, which make it twice as fast as BLAKE2.
PART_BYTES: Final = 4 * MIB
#: Fewer parts are not worth a thread.
_SPREAD_PARTS_MIN: Final = 4
_THREADS_MAX: Final = 8
#: What goes into a ``KeyedDigest`` at a time. Less data is left to ``digest``.
KEYED_PART_BYTES: Final = MIB
#: Under one key, the same always gives the same: what comes of it is kept secret.
_NONCE: Final = bytes(12)


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """Say with 16 bytes what ``data`` is, the same everywhere.

    Parameters
    ----------
    data : bytes-like
        Of one dimension, in bytes. Other threads may run meanwhile.

    Returns
    -------
    bytes
        For the same bytes the same; nobody finds others with the same.

    Examples
    --------
    >>> digest(b"a") == digest(bytearray(b"a")) != digest(b"b")
    True
    """
    if len(data) <= PART_BYTES:
        return blake2b(data, digest_size=DIGEST_BYTES).digest()
    view = memoryview(data)
    parts = [view[start : start + PART_BYTES] for start in range(0, len(view), PART_BYTES)]
    threads = min(cpu_count(), len(parts), _THREADS_MAX)
    digests = _in_threads(parts, threads) if threads > 1 and len(parts) >= _SPREAD_PARTS_MIN else map(_of_part, parts)
    return blake2b(b"".join(digests), digest_size=DIGEST_BYTES, person=b"parts").digest()


def _in_threads(parts: list[memoryview], threads: int) -> list[bytes]:
    from concurrent.futures import ThreadPoolExecutor  # not everybody has large data

    with ThreadPoolExecutor(threads, "digests") as pool:
        return list(pool.map(_of_part, parts))


def _of_part(part: memoryview) -> bytes:
    return sha256(part).digest()


class KeyedDigest:
    """Say with 16 bytes what data is, the same for all who have the same secret.

    Each part of the data is taken for a polynomial, which is evaluated at a secret point (GMAC). What comes of all parts is
    hidden by a keyed BLAKE2b, so that digests tell nothing about the point. Processors of the last fifteen years have
    instructions for it, with which one of them is faster than several are at SHA-256.

    Parameters
    ----------
    secret : bytes
        Whoever does not have it finds no data with the digest of other data.

    Examples
    --------
    >>> table = bytes(5_000_000)
    >>> KeyedDigest(b"secret")(table) == KeyedDigest(b"secret")(bytearray(table)) != KeyedDigest(b"other")(table)
    True
    """

    def __init__(self, secret: bytes) -> None:
        key = hmac.digest(secret, b"myscheduler/v1|names", "sha256")
        self._point_key, self._hiding_key = key[:16], key[16:]
        self._cipher: Any = None

    def __call__(self, data: bytes | bytearray | memoryview) -> bytes:
        """The digest of ``data``, of one dimension in bytes."""
        if len(data) < KEYED_PART_BYTES:
            return digest(data)
        if self._cipher is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # not everybody has large data

            self._cipher = AESGCM(self._point_key)
        view = memoryview(data)
        starts = range(0, len(view), KEYED_PART_BYTES)
        # Nothing is encrypted, so all that comes is the sum over what is only authenticated.
        sums = [self._cipher.encrypt(_NONCE, b"", view[start : start + KEYED_PART_BYTES]) for start in starts]
        return blake2b(b"".join(sums), digest_size=DIGEST_BYTES, key=self._hiding_key, person=b"keyed").digest()
