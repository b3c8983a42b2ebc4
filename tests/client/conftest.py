"""A fake cluster on the shared loop, and a blocking client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from myscheduler.client.api import Client
from myscheduler.client.api.loop import LoopThread
from tests.client.fake import FakeCluster


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    thread = LoopThread.shared()
    cluster = thread.run(FakeCluster().start())
    yield cluster
    thread.loop.call_soon_threadsafe(cluster.stop)


@pytest.fixture
def client(cluster: FakeCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client
