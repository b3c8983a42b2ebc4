"""Identities: of peers, of scheduler starts, of connections. Machines get them from outside, seeded."""

from __future__ import annotations

import itertools
import os
import random
import secrets
from typing import NewType

#: One life of a worker, client or observer: 16 hexadecimal digits, never used twice.
Incarnation = NewType("Incarnation", str)
#: One start of a scheduler; a later start has a higher number.
Epoch = NewType("Epoch", int)
#: A source of randomness that somebody else has seeded.
Randomness = random.Random


def seeded(seed: int) -> Randomness:
    """Randomness that repeats with its seed, for simulations.

    Examples
    --------
    >>> seeded(1).random() == seeded(1).random()
    True
    """
    return random.Random(seed)


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


_count = itertools.count(1).__next__
_process = ""


def unique_suffix() -> str:
    """What to put behind a name so that no other name, in any process, is the same: ``5f3a9c0112345678-17``."""
    global _process
    if not _process:
        _process = IdSource().incarnation()
    return f"{_process}-{_count()}"


def _forget_process() -> None:
    global _process
    _process = ""


# A forked child goes on counting where its parent was: only another prefix keeps their names apart.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_process)
