"""Some repeats of one row, in a process of their own: ``python -m tests.faults.lane B1 --numbers 0 20 --seconds 60``.

Prints a line of JSON per repeat. Ends after the first that failed, as its place cannot be trusted any more.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import sys
import time
import traceback

from . import groups
from .rows import ROWS, Row, Trial, UnavailableError

#: Seconds after which one repeat that does not end is ended, with a traceback of all threads.
TRIAL_S = 400.0


def run(row: Row, first: int, end: int, seconds: float) -> None:
    """Repeats ``first`` to ``end``, as far as they fit into the time."""
    deadline = time.monotonic() + seconds
    number = first
    try:
        with row.place() as place:
            for number in range(first, end):
                if number > first and time.monotonic() > deadline:
                    return
                faulthandler.dump_traceback_later(TRIAL_S, exit=True, file=2)
                trial = Trial(row.id, number)
                began = time.monotonic()
                try:
                    row.trial(place, trial)
                except Exception as error:
                    trial.broken.append(describe(error))
                say(trial.to_dict() | {"seconds": time.monotonic() - began})
                if trial.broken:
                    return
    except UnavailableError as error:
        say({"unavailable": str(error)})
    except Exception as error:
        trial = Trial(row.id, number, broken=[f"before or after the repeats: {describe(error)}"])
        say(trial.to_dict() | {"seconds": 0.0})
    finally:
        faulthandler.cancel_dump_traceback_later()


def describe(error: Exception) -> str:
    """What happened in one line, then the traceback."""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}\n{''.join(traceback.format_exception(error))}"


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.lane", description=__doc__)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--numbers", type=int, nargs=2, default=(0, 1), metavar=("FIRST", "END"))
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    faulthandler.enable()
    first, end = arguments.numbers
    run(ROWS[arguments.row], first, end, arguments.seconds)


if __name__ == "__main__":
    assert groups
    main()
