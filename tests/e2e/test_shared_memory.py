"""Large values between processes of this host, with and without what only works there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from myscheduler import Client, wait
from myscheduler.base import config
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.shared import PipedBlob
from myscheduler.transport import pipes

NBYTES = 8 * 1024 * 1024


@pytest.fixture(scope="module", params=[True, False], ids=["shared", "sent"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of two worker processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYSCHEDULER__SHARED_MEMORY", "true" if request.param else "false")
        with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
            yield client


def make(fill: int) -> Any:
    return np.full(NBYTES, fill, np.uint8)


def look(array: Any) -> tuple[int, bool]:
    return int(array[::4096].sum()), array.flags.writeable


def test_values_come_to_the_client(client: Client) -> None:
    future = client.submit(make, 3)
    arrays = [future.result() for _ in range(4)]
    arrays[0][:] = 1
    assert [look(array) for array in arrays] == [(NBYTES // 4096 * fill, True) for fill in (1, 3, 3, 3)]


def test_values_go_from_worker_to_worker(client: Client) -> None:
    first, second = sorted(client.nthreads())
    for fill in (1, 2, 3):
        array = client.submit(make, fill, workers=[first], pure=False)
        for _ in range(2):
            found = client.submit(look, array, workers=[second], pure=False).result()
            assert found == (NBYTES // 4096 * fill, True)


def test_values_come_from_the_client(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    piped: list[int] = []
    start = pipes.Outflows.start

    def spy(outflows: pipes.Outflows, blob: Blob) -> PipedBlob | None:
        piped.append(blob.nbytes)
        return start(outflows, blob)

    monkeypatch.setattr(pipes.Outflows, "start", spy)
    arrays = {"one": make(1), "two": make(2), "small": np.arange(3)}
    futures = client.scatter(arrays, broadcast=True)
    arrays["two"][:] = 9  # it is there, so this changes nothing
    for name in client.nthreads():
        found = [client.submit(look, futures[key], workers=[name]).result() for key in ("one", "two")]
        assert found == [(NBYTES // 4096 * fill, True) for fill in (1, 2)]
        assert client.submit(sum, futures["small"], workers=[name]).result() == 3
    assert len(piped) == (4 if config.get("shared-memory") else 0)


def test_many_tasks_with_large_inputs_leave_nothing_open(client: Client) -> None:
    first, second = sorted(client.nthreads())

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = [client.submit(descriptors, workers=[name], pure=False).result() for name in (first, second)]
    for number in range(40):
        array = client.submit(make, number % 200, workers=[(first, second)[number % 2]], pure=False)
        assert client.submit(look, array, workers=[(second, first)[number % 2]], pure=False).result()[1]
        assert array.result()[0] == array.result()[-1] == number % 200
        del array
    after = [client.submit(descriptors, workers=[name], pure=False).result() for name in (first, second)]
    # A few segments may be kept for use, with two descriptors each, and a link to the other worker.
    assert all(now - then <= 14 for now, then in zip(after, before, strict=True))


def test_what_cannot_be_opened_is_sent(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(piped: PipedBlob) -> Blob:
        raise PermissionError("as in a container")

    first, second = sorted(client.nthreads())

    def break_it() -> None:
        pipes.receive = fail

    client.submit(break_it, workers=[second], pure=False).result()
    monkeypatch.setattr(pipes, "receive", fail)
    array = client.submit(make, 5, workers=[first], pure=False)
    assert client.submit(look, array, workers=[second], pure=False).result() == (NBYTES // 4096 * 5, True)
    assert look(array.result()) == (NBYTES // 4096 * 5, True)
    for fill in (6, 7):
        array = client.scatter(make(fill), workers=[second])
        assert client.submit(look, array).result() == (NBYTES // 4096 * fill, True)


def test_a_worker_that_is_killed_leaves_its_results_to_who_has_them() -> None:
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        first, second = sorted(client.nthreads())
        array = client.submit(make, 7, workers=[first], allow_other_workers=True)
        held = [array.result() for _ in range(2)]
        pid = client.submit(os.getpid, workers=[first], pure=False).result()
        os.kill(pid, 9)
        deadline = time.monotonic() + 20
        while client.submit(os.getpid, pure=False).result() == pid:
            assert time.monotonic() < deadline
        wait(client.submit(look, array, workers=[second]))
        assert [look(array)[0] for array in held] == [NBYTES // 4096 * 7] * 2
