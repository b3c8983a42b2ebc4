"""Imports all groups of rows, so that they are in the table."""

from __future__ import annotations

from . import frozen, partitions, processes, tasks

__all__ = ["frozen", "partitions", "processes", "tasks"]
