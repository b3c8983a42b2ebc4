"""The memory limit of a worker, and what is measured for it."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile

import pytest

from myscheduler.deploy.memory import MemoryWatch
from myscheduler.worker.server.metrics import used_bytes

MIB = 2**20


def test_warns_once_per_episode(caplog: pytest.LogCaptureFixture) -> None:
    watch = MemoryWatch("worker 3", 1000)
    assert not any(watch.exceeded_by(nbytes) for nbytes in (500, 810, 900, 790, 850))
    assert len(caplog.records) == 1
    assert caplog.messages[0].startswith(
        "worker 3 uses 810 B, over 80 % of its memory limit of 1000 B; above 95 % it is killed and replaced. What helps: "
        "give workers more memory (LocalCluster(memory_limit=...), myworker --memory-limit)"
    )
    assert not any(watch.exceeded_by(nbytes) for nbytes in (690, 810))
    assert len(caplog.records) == 2


def test_too_much_is_said_and_remembered() -> None:
    watch = MemoryWatch("worker 3", 1000)
    assert not watch.exceeded_by(950)
    assert watch.exceeded_by(951)
    assert watch.last == 951


def test_without_a_limit_it_only_looks(caplog: pytest.LogCaptureFixture) -> None:
    watch = MemoryWatch("worker 3", 0)
    assert not watch.exceeded_by(10**15)
    assert (watch.last, caplog.records) == (10**15, [])


def test_pages_of_files_are_not_counted_but_memory_is() -> None:
    before = used_bytes(os.getpid())
    assert before is not None
    own = bytearray(os.urandom(64 * MIB))
    with tempfile.TemporaryFile() as file:
        file.write(own)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert sum(mapped[:: mmap.PAGESIZE]) > 0  # every page has been touched
            after = used_bytes(os.getpid())
    assert after is not None
    assert 60 * MIB < after - before < 80 * MIB
    assert len(own) == 64 * MIB


def test_an_ended_process_has_no_memory() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert used_bytes(process.pid) is None  # a zombie
    process.wait()
    assert used_bytes(process.pid) is None
