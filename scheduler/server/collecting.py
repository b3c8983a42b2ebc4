"""Garbage collection in a scheduler's process."""

from __future__ import annotations

import gc


def spare_records() -> None:
    """Hardly ever look through the tables for garbage; once everything is set up.

    Records hold no cycles while they live, and a collection that goes through a million of them stops the loop.
    """
    gc.freeze()
    gc.set_threshold(50_000, 2, 10_000)
