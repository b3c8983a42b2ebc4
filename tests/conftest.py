"""What all tests share: nothing may outlive a test."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import psutil
import pytest

from tests.support.repository import tree


def pytest_collection_finish() -> None:
    """What has been imported stays: the collections of garbage that tests ask for need not look through it every time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def no_process_outlives_the_tests() -> Iterator[None]:
    """Fail the run if processes started by the tests are still there at its end. Zombies do not count."""
    yield
    started = [process for process in psutil.Process().children(recursive=True) if _describe(process)]
    _, alive = psutil.wait_procs(started, timeout=5)
    left = [text for text in map(_describe, alive) if text]
    assert not left, f"processes outlived the tests: {left}"


@pytest.fixture(autouse=True, scope="module")
def no_syntax_tree_outlives_its_module() -> Iterator[None]:
    """They are kept for the other tests of the module. A million nodes would make every collection of garbage slow."""
    yield
    tree.cache_clear()


@pytest.fixture
def no_thread_outlives_the_test() -> Iterator[None]:
    """Fail the test if it leaves threads behind that are not daemons of the interpreter's."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
    left = sorted(thread.name for thread in set(threading.enumerate()) - before)
    assert not left, f"threads outlived the test: {left}"


def _describe(process: psutil.Process) -> str:
    """Its command line, or nothing for zombies and for the standard library's helpers, which live as long as we do."""
    try:
        command = " ".join(process.cmdline())
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
    except psutil.Error:
        return ""
    if "multiprocessing.resource_tracker" in command or "multiprocessing.forkserver" in command:
        return ""
    return f"{process.pid} {command}"
