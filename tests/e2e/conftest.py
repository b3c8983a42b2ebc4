"""Real clusters, shared by the tests of a module: one of processes over TCP, one inside this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from myscheduler import Client


@pytest.fixture(scope="module", params=["processes", "inproc"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a cluster with two workers of one thread each."""
    processes = request.param == "processes"
    with Client(n_workers=2, threads_per_worker=1, processes=processes, dashboard_address=None) as client:
        yield client
