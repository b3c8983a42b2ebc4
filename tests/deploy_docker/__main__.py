"""docker-compose.yml brought up for real: ``make test-docker``. Needs an engine, so it is no part of ``make test``.

Where no engine can be had it says so, counts one skip, and succeeds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from .checks import CHECKS, SkipError
from .cluster import Cluster
from .engine import UnavailableError, base_image, compose, engine, say


def main() -> int:
    """Run all checks in order; they share one cluster."""
    passed, failed, skipped = 0, 0, 0
    try:
        with cluster() as deployed:
            for check in CHECKS:
                name = check.__name__.removeprefix("check_").replace("_", " ")
                started = time.monotonic()
                try:
                    found = check(deployed)
                except SkipError as error:
                    skipped += 1
                    print(f"SKIPPED  {name}: {error}", flush=True)
                except Exception:
                    failed += 1
                    print(f"FAILED   {name}\n{traceback.format_exc()}\n{deployed.logs()}", flush=True)
                else:
                    passed += 1
                    print(f"passed   {name}: {found} ({time.monotonic() - started:.1f} s)", flush=True)
    except UnavailableError as error:
        skipped += len(CHECKS) - passed - failed - skipped
        print(f"SKIPPED: nothing was tested in containers: {error}", flush=True)
    except Exception:
        failed += 1
        print(f"FAILED   to set up or to take away\n{traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """An engine, the image, and a cluster that is not up yet; nothing is left of them."""
    # Builds by the old builder need no frontend from a registry.
    os.environ["DOCKER_BUILDKIT"] = "0"
    with tempfile.TemporaryDirectory(prefix="myscheduler-deploy-") as folder, engine(), compose() as command:
        base = base_image()
        deployed = Cluster(Path(folder), command, base)
        say("building the image")
        deployed.build()
        try:
            yield deployed
        finally:
            deployed.down()
            deployed.remove_images()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of everything that takes away
    sys.exit(main())
