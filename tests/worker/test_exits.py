"""What a refusal means for a worker: as one that had been let in before, and as one that had not."""

from __future__ import annotations

import pytest

from myscheduler.base.errors import ClosedError, ClusterError, UsageError, VersionMismatchError
from myscheduler.worker.exits import ExitReason, RefusedError, refusal


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("session", ExitReason.RESTART),
        ("restart", ExitReason.RESTART),
        ("closing", ExitReason.CLOSED),
        ("version", ExitReason.REFUSED),
        ("anything", ExitReason.REFUSED),
    ],
)
def test_a_worker_that_had_been_let_in_begins_anew_ends_or_is_refused_for_good(code: str, reason: ExitReason) -> None:
    error = RefusedError(code, "why")
    assert (error.exit_reason, error.code, error.text, str(error)) == (reason, code, "why", "why")


@pytest.mark.parametrize(
    ("code", "kind"),
    [("version", VersionMismatchError), ("name", UsageError), ("closing", ClosedError), ("anything", ClusterError)],
)
def test_a_worker_that_had_not_says_what_the_scheduler_said(code: str, kind: type[Exception]) -> None:
    error = refusal(code, "why")
    assert type(error) is kind
    assert str(error) == "why"
