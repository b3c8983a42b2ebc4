"""Identities: of peers, of scheduler starts, of connections. Machines get them from outside, seeded."""

from __future__ import annotations

import random
import secrets
from typing import NewType

#: One life of a worker, client or observer: 16 hexadecimal digits, never used twice.
Incarnation = NewType("Incarnation", str)
#: One start of a scheduler; a later start has a higher number.
Epoch = NewType("Epoch", int)


class IdSource:
    """Makes incarnations from a seed, so that a simulated run can be repeated.

    Parameters
    ----------
    seed : int, optional
        Without it, ids come from the operating system's randomness.

    Examples
    --------
    >>> IdSource(1).incarnation() == IdSource(1).incarnation()
    True
    >>> IdSource().incarnation() == IdSource().incarnation()
    False
    """

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(secrets.randbits(128) if seed is None else seed)

    def incarnation(self) -> Incarnation:
        """A new incarnation: 16 hexadecimal digits."""
        return Incarnation(f"{self._random.getrandbits(64):016x}")
