"""What a keeper does for real workers: their last words, their memory, and the error that tells of it."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time

import pytest

from myscheduler import Future
from myscheduler.base.errors import KilledWorkerError
from myscheduler.deploy import LocalCluster
from tests.client.support import eventually


def crash() -> None:
    print("about to crash", file=sys.stderr, flush=True)
    ctypes.string_at(0)


def slowly(number: int) -> int:
    time.sleep(0.2)
    return number


def hoard() -> object:
    """Take 300 MiB, then hold the interpreter lock in C for ever."""
    hoarded = bytearray(os.urandom(2**20)) * 300
    return hoarded, re.match("(a+)+$", "a" * 64 + "b")


def hold_the_lock(seconds: int) -> int:
    return int(ctypes.PyDLL(None).sleep(seconds))


def test_a_worker_that_outgrows_its_memory_is_replaced_though_it_holds_the_interpreter_lock(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit="250 MiB", dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        with pytest.raises(KilledWorkerError) as caught:
            client.submit(hoard).result(timeout=60)
        cluster.wait_for_workers(1, timeout=30)
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    logged = next(text for text in caplog.messages if "killed" in text and "another one" in text)
    assert "was killed by its keeper for using too much memory" in logged
    assert "of its memory limit of 250.00 MiB; another one starts now. What helps: give workers more memory" in logged
    text = str(caught.value)
    assert (
        len(re.findall("was killed by its keeper for using too much memory .* of its memory limit of 250.00 MiB", text))
        == 3
    )
    assert text.endswith(
        "What to try: It outgrew the memory of its workers: give them more (LocalCluster(memory_limit=...), myworker "
        "--memory-limit), or fewer threads each, or split the task."
    )


def test_a_worker_whose_task_holds_the_interpreter_lock_is_vouched_for_and_its_result_counts() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        pid = client.submit(os.getpid).result(timeout=30)
        holder = client.submit(hold_the_lock, 7)
        told = "Its keeper sees that its process lives and sleeps or waits: a task holds the interpreter lock"
        eventually(lambda: told in client.explain(holder), timeout=30)
        assert holder.result(timeout=30) == 0
        assert client.submit(os.getpid, pure=False).result(timeout=30) == pid


def block(number: int) -> bytes:
    return os.urandom(2**20) * 10


def test_a_worker_short_of_memory_is_paused_goes_on_one_by_one_and_recovers() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, memory_limit="400 MiB", dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):

        def status() -> list[str]:
            return [worker["status"] for worker in cluster.scheduler_info["workers"]]

        held: list[Future] = []
        while status() == ["running"] and len(held) < 36:
            held.append(client.submit(block, len(held)))
            held[-1].result(timeout=30)
        eventually(lambda: status() == ["paused"], timeout=10)
        numbers = client.map(slowly, range(4))
        assert "each runs one task at a time" in client.explain(numbers[-1])
        assert client.gather(numbers) == [0, 1, 2, 3]
        assert status() == ["paused"]
        held.clear()
        eventually(lambda: status() == ["running"], timeout=10)


def test_a_crash_is_explained_and_its_neighbour_is_not_blamed(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=4, dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        neighbours = client.map(slowly, range(8))
        bad = client.submit(crash)
        with pytest.raises(KilledWorkerError) as caught:
            bad.result(timeout=60)
        assert client.gather(neighbours) == list(range(8))
    text = str(caught.value)
    assert text.startswith(
        f"task {bad.key!r} was running on 3 workers when they died, so it is not tried again.\n- attempt "
    )
    assert (
        len(re.findall(r"- attempt \d+ on worker 0 \(tcp://.*\): was killed by SIGSEGV \(a crash in comp", text)) == 3
    )
    assert len(re.findall(r"it used [0-9.]+ MiB of its limit of", text)) >= 2  # the first may not have been sampled
    assert text.count("    about to crash\n    Fatal Python error: Segmentation fault") == 3
    assert "in crash" in text  # where it was
    assert "What to try: Compiled code crashed" in text
    shown = capfd.readouterr().err
    assert shown.count("about to crash") == 3
