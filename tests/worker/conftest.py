"""What tests of the worker share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.worker.bench import TIMEOUT_S, Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.executor.close()
    assert await made.executor.join(TIMEOUT_S)
