"""A client that cannot reach the workers: seconds for each kind of call, as JSON. Started by ``checks``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from myscheduler import Client

from .tasks import blob, square

times: dict[str, float] = {}


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Note how long the block took."""
    started = time.monotonic()
    yield
    times[name] = round(time.monotonic() - started, 3)


def main() -> None:
    """Call everything that moves data."""
    with timed("connect"):
        client = Client(sys.argv[1])
    with client:
        with timed("small"):
            assert client.gather(client.map(square, range(100))) == [x * x for x in range(100)]
        for turn in range(3):
            with timed(f"1 MB ({turn + 1})"):
                assert client.submit(blob, turn).result(30) == blob(turn)
        with timed("12 MB from all"):
            assert client.gather(client.map(blob, range(10, 22))) == [blob(x) for x in range(10, 22)]
        with timed("scatter"):
            future = client.scatter(blob(7))
        with timed("back"):
            assert future.result(30) == blob(7)
        with timed("use"):
            assert client.submit(len, future).result(30) == 1_000_000
    print(json.dumps(times))


if __name__ == "__main__":
    main()
