"""Makes cases out of cases: blind but repeatable, for the short run in the tests and where no guided fuzzer is installed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

#: Pieces that mean something to one reader or another: borders of integers, heads of msgpack values, JSON and YAML.
_TOKENS: Final = (
    b"\x00", b"\x01", b"\x7f", b"\x80", b"\x81", b"\x90", b"\x91", b"\x9f", b"\xc0", b"\xc1", b"\xc2", b"\xff",
    b"\xdc\xff\xff", b"\xdd\x00\x01\x00\x00", b"\xdd\xff\xff\xff\xff", b"\xde\xff\xff", b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xd7\x01" + bytes(8), b"\xc7\x18\x03", b"\xcb\x7f\xf8" + bytes(6),
    b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\x00\x00\x00\x01", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
    b"\x91" * 50, b"{", b"[", b'"', b"null", b"1e999", b"-", b": ", b"\n", b"&a ", b"*a", b"\\ud800", b"\xed\xa0\x80",
)  # fmt: skip


class Mutator:
    """An endless supply of cases.

    Parameters
    ----------
    corpus : sequence of bytes
        Cases to begin with.
    seed : int
        The same seed gives the same cases.
    """

    def __init__(self, corpus: Sequence[bytes], seed: int) -> None:
        self._corpus = list(corpus)
        self._random = Random(seed)

    def next(self) -> bytes:
        """One more case: one of the corpus with some changes."""
        random = self._random
        data = bytearray(random.choice(self._corpus))
        for _ in range(1 << random.randrange(5)):
            self._change(data)
        return bytes(data[:4096])

    def _change(self, data: bytearray) -> None:
        random = self._random
        at = random.randrange(len(data) + 1)
        kind = random.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = random.randrange(256)
        elif kind == 2:
            token = random.choice(_TOKENS)
            data[at : at + len(token)] = token
        elif kind == 3:
            data[at:at] = random.choice(_TOKENS)
        elif kind == 4:
            del data[at : at + (1 << random.randrange(6))]
        elif kind == 5:
            end = at + (1 << random.randrange(7))
            data[at:at] = data[at:end]
        else:
            other = random.choice(self._corpus)
            start = random.randrange(len(other) + 1)
            data[at:] = other[start:]
