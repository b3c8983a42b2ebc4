"""Measure one workload on one system, in this process: ``python -m benchmarks.run_one SYSTEM WORKLOAD [SCALE]``.

The last line on stdout is a JSON object: ``figures`` and ``version``, or ``unsupported`` with the reason.
"""

from __future__ import annotations

import json
import sys

from .systems import Unsupported, load
from .workloads import WORKLOADS


def main(system_name: str, workload_name: str, scale: float) -> dict[str, object]:
    """Run it; returns what is to be printed."""
    system = load(system_name)
    workload = WORKLOADS[workload_name]
    try:
        if workload.starts_itself:
            figures = workload.run(system, scale)
        else:
            system.start()
            try:
                system.settle()
                figures = workload.run(system, scale)
            finally:
                system.stop()
    except Unsupported as reason:
        return {"unsupported": str(reason)}
    return {"figures": figures, "version": system.version()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 1.0)), flush=True)
