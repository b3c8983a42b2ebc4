"""What a keeper does for real workers: their last words, their memory."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest

from myscheduler.base.errors import KilledWorkerError
from myscheduler.deploy import LocalCluster


def crash() -> None:
    print("about to crash", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def hoard() -> object:
    """Take 300 MiB, then hold the interpreter lock in C for ever."""
    hoarded = bytearray(os.urandom(2**20)) * 300
    return hoarded, re.match("(a+)+$", "a" * 64 + "b")


def test_a_worker_that_outgrows_its_memory_is_replaced_though_it_holds_the_interpreter_lock(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit="250 MiB", dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        with pytest.raises(KilledWorkerError, match="hoard"):
            client.submit(hoard).result(timeout=60)
        cluster.wait_for_workers(1, timeout=30)
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    text = caplog.messages[0]
    assert "was killed by its keeper for using too much memory" in text
    assert "of its memory limit of 250.00 MiB; another one starts now. What helps: give workers more memory" in text


def test_what_a_worker_said_last_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        cluster.get_client() as client,
        pytest.raises(KilledWorkerError, match="crash"),
    ):
        client.submit(crash).result(timeout=60)
    shown = capfd.readouterr().err
    assert "about to crash" in shown
    assert "Segmentation fault" in shown
