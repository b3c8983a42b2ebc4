"""Reports of deaths: best effort, and never in the way."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from myscheduler.base.errors import ClosedError
from myscheduler.deploy import reporting
from myscheduler.deploy.obituary import Obituary
from myscheduler.deploy.reporting import Reporter


async def test_tells_who_died_and_how() -> None:
    calls: list[tuple[Any, ...]] = []

    async def call(*args: Any) -> None:
        calls.append(args)

    reporter = Reporter(call)
    reporter.about("3")(Obituary(12, 7, 1.0, running=(4, 9)))
    await reporter.finish()
    assert calls == [("worker_died", "3", 12, "exit", "exited with code 7 after 1.0 s", (4, 9))]


@pytest.mark.parametrize("error", [ClosedError("gone"), OSError("no route"), TimeoutError()])
async def test_a_scheduler_that_cannot_be_told_is_no_error(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=reporting.__name__)

    async def call(*args: Any) -> None:
        raise error

    reporter = Reporter(call)
    reporter.about("3")(Obituary(12, 7, 1.0))
    await reporter.finish()
    assert caplog.messages == [f"the scheduler did not get our report of worker 3: {error}"]


async def test_vouches_for_the_living() -> None:
    calls: list[tuple[Any, ...]] = []

    async def call(*args: Any) -> None:
        calls.append(args)

    reporter = Reporter(call)
    reporter.vouch_for("3")(12, 0.5)
    await reporter.finish()
    assert calls == [("vouch", "3", 12, 0.5)]


async def test_nothing_to_tell_needs_no_waiting() -> None:
    async def call(*args: Any) -> None:
        raise AssertionError("nobody died")

    assert await Reporter(call).finish() is None  # type: ignore[func-returns-value]
