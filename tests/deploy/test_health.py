"""The health check against a real scheduler and worker in this process, over TCP."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from myscheduler.base.credentials import Credentials, write_scheduler_file
from myscheduler.base.errors import AuthenticationError, ClusterError
from myscheduler.deploy import health
from myscheduler.scheduler.server.scheduler import SchedulerServer
from myscheduler.worker.server.worker import Worker

CREDENTIALS = Credentials.generate()


@pytest.fixture
async def scheduler() -> AsyncIterator[SchedulerServer]:
    server = SchedulerServer(CREDENTIALS, port=0)
    await server.start()
    yield server
    await server.close("test")


@pytest.mark.parametrize("role", ["observer", "client"])
async def test_a_scheduler_that_answers_is_well(scheduler: SchedulerServer, role: str) -> None:
    found = await health.check(scheduler.address, CREDENTIALS.restricted(role))
    assert found == f"the scheduler at {scheduler.address} answers; 0 workers"


async def test_a_worker_is_well_once_the_scheduler_knows_it(scheduler: SchedulerServer) -> None:
    host = socket.gethostname()
    with pytest.raises(ClusterError, match=f"knows no worker on {host}; it has 0 elsewhere"):
        await health.check(scheduler.address, CREDENTIALS, host)
    async with Worker(scheduler.address, credentials=CREDENTIALS, name="w", nthreads=1):
        assert "1 of the 1 workers" in await health.check(scheduler.address, CREDENTIALS, host)
        with pytest.raises(ClusterError, match="knows no worker on another; it has 1 elsewhere"):
            await health.check(scheduler.address, CREDENTIALS, "another")


async def test_strangers_learn_nothing(scheduler: SchedulerServer) -> None:
    with pytest.raises(AuthenticationError):
        await health.check(scheduler.address, Credentials.generate())


async def test_a_stuck_scheduler_is_not_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterError, match=r"cannot reach .* within 0\.05 s"):
            await health.check(address, CREDENTIALS, timeout=0.05)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv(
        "MYSCHEDULER_CREDENTIALS_FILE", str(write_scheduler_file(tmp_path / "c.json", address, CREDENTIALS))
    )
    assert health.main(["--timeout", "0.05"]) == 1
    assert capsys.readouterr().out.startswith(f"unhealthy: cannot reach {address}")


def test_a_file_instead_of_an_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(write_scheduler_file(tmp_path / "c.json", "", CREDENTIALS))
    assert health.main(["--scheduler-file", file, "--timeout", "0.01"]) == 1
    assert "names no address" in capsys.readouterr().out
