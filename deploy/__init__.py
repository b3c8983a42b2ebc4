"""Starting clusters: ``LocalCluster`` and the processes behind it."""

from __future__ import annotations

from .local import LocalCluster

__all__ = ["LocalCluster"]
