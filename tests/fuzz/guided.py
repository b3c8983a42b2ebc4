"""One target under atheris, which keeps cases that reach new code: ``python -m tests.fuzz.guided TARGET FOLDER``.

Further options are those of libFuzzer. A process of its own, because libFuzzer never returns.
"""

from __future__ import annotations

import importlib
import sys
from itertools import count
from typing import Any

#: Every so many cases the memory is measured as well, which takes ten times as long.
MEASURED_EVERY = 256


def main() -> None:
    """Fuzz until the options say that it is enough, or a case fails."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["myscheduler", "yaml"]):
        importlib.import_module("yaml")
        targets = importlib.import_module("tests.fuzz.targets")
    name = sys.argv[1]
    target, numbers = targets.TARGETS[name], count()
    measured = name in targets.LIMITS

    def run(data: bytes) -> None:
        target(data)
        if measured and not next(numbers) % MEASURED_EVERY:
            targets.check_memory(name, data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
