"""Runs that ended, for those who watch: a dashboard's task stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.messages import EVENTS

if TYPE_CHECKING:
    from .core import Core


def is_observed(core: Core) -> bool:
    """Whether anybody watches the runs."""
    return bool(core.observers) and any(observer.streaming for observer in core.observers.values())


def publish_runs(core: Core) -> None:
    """Queue what ended in this batch for everybody who watches."""
    if core.runs:
        for observer in core.observers.values():
            if observer.streaming:
                for row in core.runs:
                    core.row(observer, EVENTS, row)
        core.runs.clear()
