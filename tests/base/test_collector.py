"""The collector is off in a block and then as it was before, whoever else has such a block; what is spared it leaves alone."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from myscheduler.base.collector import paused, spare


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


class Node:
    """Something that may be in a cycle."""

    def __init__(self, gone: list[str]) -> None:
        self.gone = gone
        self.next: object = None

    def __del__(self) -> None:
        self.gone.append("node")


def test_what_is_spared_is_freed_with_its_last_reference_and_found_in_no_cycle() -> None:
    gone: list[str] = []
    nodes = [Node(gone), Node(gone), Node(gone)]
    looping, reference = nodes[2], weakref.ref(nodes[2])
    looping.next = looping
    spare(nodes)
    spare(nodes)
    assert not any(map(gc.is_tracked, nodes))
    nodes.clear()
    assert gone == ["node", "node"]
    del looping
    gc.collect()
    found = reference()
    assert isinstance(found, Node)
    found.next = None
    del found
    assert gone == ["node", "node", "node"]
