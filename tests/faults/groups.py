"""Imports all groups of rows, so that they are in the table."""

from __future__ import annotations

from . import frozen, links, partitions, processes, tasks

__all__ = ["frozen", "links", "partitions", "processes", "tasks"]
