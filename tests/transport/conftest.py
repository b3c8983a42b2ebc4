"""Fixtures: a listener over each transport; all that a test leaves open is closed after it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.transport.site import Site


@pytest.fixture(params=["tcp", "tls", "inproc"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A listener that takes connections, over one of the transports."""
    made = Site(request.param)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def tcp() -> AsyncIterator[Site]:
    """A listener over TCP."""
    made = Site("tcp")
    await made.open()
    yield made
    await made.close()
