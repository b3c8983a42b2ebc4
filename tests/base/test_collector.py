"""The collector is off in a block and then as it was before, whoever else has such a block."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from myscheduler.base.collector import paused


@pytest.fixture(autouse=True)
def _enabled() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()


def test_blocks_may_nest_and_fail() -> None:
    with paused():
        with pytest.raises(ZeroDivisionError), paused():
            _ = 1 / 0
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_last_of_several_threads_has_it_go_on() -> None:
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def other() -> None:
        with paused():
            entered.set()
            assert leave.wait(10)
        left.set()

    thread = threading.Thread(target=other)
    with paused():
        thread.start()
        assert entered.wait(10)
    assert not gc.isenabled()
    leave.set()
    assert left.wait(10)
    thread.join()
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    with paused():
        pass
    assert not gc.isenabled()
