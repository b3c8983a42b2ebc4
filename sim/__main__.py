"""``python -m myscheduler.sim --seeds 100`` or ``--seed 7``: run simulations and say how many went well."""

from __future__ import annotations

import argparse
import sys

from .run import SimulationError, simulate


def main() -> int:
    """Run the seeds; exit code 1 if any broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m myscheduler.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="run this seed only, and show what happened")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        print(simulate(arguments.seed))
        return 0
    failures = 0
    tasks = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        try:
            tasks += simulate(seed).tasks
        except SimulationError as error:
            failures += 1
            print(error, f"\n  repeat it: {sys.executable} -m myscheduler.sim --seed {seed}", sep="")
    print(f"{arguments.seeds - failures} passed, {failures} failed ({tasks} tasks)")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
