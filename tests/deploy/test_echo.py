"""The stderr of a child: passed on, and its end kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from myscheduler.deploy.echo import KEPT_BYTES, Echo


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The read end of a pipe that stands for our own stderr."""
    read_end, write_end = os.pipe()
    dup = os.dup
    monkeypatch.setattr(os, "dup", lambda number: dup(write_end if number == 2 else number))
    yield read_end
    os.close(write_end)
    os.close(read_end)


def started() -> tuple[Echo, int]:
    echo = Echo("child")
    child_end = os.dup(echo.child_end)
    echo.start()
    return echo, child_end


def _refuse(number: int) -> int:
    raise OSError(9, "no stderr")


def started_without_stderr(monkeypatch: pytest.MonkeyPatch) -> tuple[Echo, int]:
    echo = Echo("child")
    child_end = os.dup(echo.child_end)
    monkeypatch.setattr(os, "dup", _refuse)
    echo.start()
    return echo, child_end


async def test_passes_on_and_keeps(stderr: int) -> None:
    echo, child_end = started()
    os.write(child_end, b"first\n")
    os.write(child_end, b"last\n")
    os.close(child_end)
    await echo.finish()
    assert echo.text == "first\nlast\n"
    assert os.read(stderr, 100) == b"first\nlast\n"


async def test_keeps_the_end_only(monkeypatch: pytest.MonkeyPatch) -> None:
    echo, child_end = started_without_stderr(monkeypatch)
    for number in range(10_000):
        os.write(child_end, f"{number}\n".encode())
    os.close(child_end)
    await echo.finish()
    assert echo.text.endswith("9998\n9999\n")
    assert KEPT_BYTES <= len(echo.text) < 3 * KEPT_BYTES


async def test_a_stderr_that_nobody_reads_any_more_does_not_stop_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    dup = os.dup
    monkeypatch.setattr(os, "dup", lambda number: dup(write_end if number == 2 else number))
    echo, child_end = started()
    os.close(write_end)
    os.close(read_end)
    os.write(child_end, b"into the void\n")
    os.write(child_end, b"and on\n")
    os.close(child_end)
    await echo.finish()
    assert echo.text == "into the void\nand on\n"


async def test_does_not_wait_long_for_those_that_inherited_the_pipe(stderr: int) -> None:
    echo, child_end = started()
    os.write(child_end, b"said\n")
    await echo.finish()
    assert echo.text == "said\n"
    os.close(child_end)
    await echo.finish()
    assert not [thread for thread in threading.enumerate() if thread.name == "stderr of child"]


def test_leaves_nothing_when_the_child_could_not_be_started() -> None:
    before = len(os.listdir("/proc/self/fd"))
    Echo("child").abandon()
    assert len(os.listdir("/proc/self/fd")) == before
