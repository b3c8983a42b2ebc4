"""``python -m myscheduler.sim --seeds 100`` or ``--seed 7``: run simulations and say how many went well."""

from __future__ import annotations

import argparse
import sys

from .faults import FAULTS
from .run import Options, SimulationError, simulate


def main() -> int:
    """Run the seeds; exit code 1 if any broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m myscheduler.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="run this seed only, and show what happened")
    parser.add_argument("--faults", help=f"choose among these only, divided by commas, or none: {', '.join(FAULTS)}")
    arguments = parser.parse_args()
    options = Options(parse_faults(arguments.faults))
    if arguments.seed is not None:
        print(simulate(arguments.seed, options))
        return 0
    failures = 0
    tasks = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        try:
            tasks += simulate(seed, options).tasks
        except SimulationError as error:
            failures += 1
            print(error, f"\n  repeat it: {command(seed, options)}", sep="")
    print(f"{arguments.seeds - failures} passed, {failures} failed ({tasks} tasks)")
    return 1 if failures else 0


def parse_faults(text: str | None) -> tuple[str, ...] | None:
    """What ``--faults`` means: None is all of them.

    Examples
    --------
    >>> parse_faults("kill,freeze"), parse_faults("none"), parse_faults("all")
    (('kill', 'freeze'), (), None)
    """
    if text is None or text == "all":
        return None
    return () if text == "none" else tuple(text.split(","))


def format_faults(faults: tuple[str, ...] | None) -> str:
    """The other way round.

    Examples
    --------
    >>> [format_faults(parse_faults(text)) for text in ("all", "none", "kill,freeze")]
    ['all', 'none', 'kill,freeze']
    """
    return "all" if faults is None else ",".join(faults) or "none"


def command(seed: int, options: Options) -> str:
    """What to type to see it again."""
    chosen = "" if options.faults is None else f" --faults {format_faults(options.faults)}"
    return f"{sys.executable} -m myscheduler.sim --seed {seed}{chosen}"


if __name__ == "__main__":
    sys.exit(main())
