from __future__ import annotations

import threading

from myscheduler.graph.delayed import delayed
from myscheduler.local import synchronous
from myscheduler.local.synchronous import SynchronousScheduler


def test_everything_runs_in_this_thread_in_the_static_order() -> None:
    seen: list[tuple[int, int]] = []

    def note(number: int) -> int:
        seen.append((number, threading.get_ident()))
        return number

    notes = [delayed(note)(number) for number in range(5)]
    assert delayed(sum)(notes).compute(scheduler=SynchronousScheduler()) == 10
    assert seen == [(number, threading.get_ident()) for number in range(5)]
    assert synchronous.__doc__ is not None
