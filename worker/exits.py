"""Why a worker ends, and why it could not begin."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ..base.errors import ClosedError, ClusterError, UsageError, VersionMismatchError


class ExitReason(StrEnum):
    """Why a worker ended."""

    #: asked to, by ``close`` or the scheduler
    CLOSED = "closed"
    #: the scheduler wants a new one in its place
    RESTART = "restart"
    #: the scheduler was lost, and not found again during the lease
    LOST_SCHEDULER = "lost-scheduler"
    #: the scheduler could not be reached in time
    DEATH_TIMEOUT = "death-timeout"
    #: the scheduler did not take it
    REFUSED = "refused"
    #: a bug of ours
    FAILED = "failed"


#: What to do when a scheduler that had let us in does not take us again. Other codes: end, and do not come back.
_EXITS: Final = {
    "session": ExitReason.RESTART,
    "restart": ExitReason.RESTART,
    "closing": ExitReason.CLOSED,
}


class RefusedError(Exception):
    """The scheduler has answered with REFUSED."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def exit_reason(self) -> ExitReason:
        """How a worker ends that had been let in before."""
        return _EXITS.get(self.code, ExitReason.REFUSED)


def refusal(code: str, text: str) -> Exception:
    """What to raise when the scheduler answers with REFUSED.

    Parameters
    ----------
    code : str
        What the scheduler objects to: ``"version"``, ``"name"``, ``"closing"`` or another.
    text : str
        Its words.

    Returns
    -------
    Exception
        With that text.

    Examples
    --------
    >>> refusal("name", "the name alice is taken")
    UsageError('the name alice is taken')
    """
    if code == "version":
        return VersionMismatchError(text)
    if code == "name":
        return UsageError(text)
    return ClosedError(text) if code == "closing" else ClusterError(text)
