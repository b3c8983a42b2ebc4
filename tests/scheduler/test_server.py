"""The daemon with real workers: processes that are stopped and go on."""

from __future__ import annotations

import os
import signal

from myscheduler import Client
from tests.client.support import eventually


def test_a_frozen_worker_gets_no_work_and_is_used_again_when_it_goes_on() -> None:
    with Client(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as client:
        address, frozen = next(iter(client.scheduler_info()["workers"].items()))

        def status() -> str:
            return str(client.scheduler_info()["workers"][address]["status"])

        os.kill(frozen["pid"], signal.SIGSTOP)
        try:
            eventually(lambda: status() == "unresponsive", timeout=6.0)
            assert client.gather(client.map(abs, range(-100, 0))) == list(range(100, 0, -1))
        finally:
            os.kill(frozen["pid"], signal.SIGCONT)
        eventually(lambda: status() == "running")
        assert client.submit(os.getpid, workers=[frozen["name"]]).result(timeout=5) == frozen["pid"]
