"""The workloads, written once for all systems. Each returns its figures as a mapping of metric name to number."""

from __future__ import annotations

from . import data, processes, throughput
from .base import Metric, Workload

__all__ = ["WORKLOADS", "Metric", "Workload"]

#: In the order in which they are measured and shown.
WORKLOADS: dict[str, Workload] = {**throughput.WORKLOADS, **processes.WORKLOADS, **data.WORKLOADS}
