"""Futures: submit work, build on results that do not exist yet, take them as they come."""

from __future__ import annotations

import time

from myscheduler import Client, as_completed


def slow_square(number: int) -> int:
    """Some work."""
    time.sleep(0.02)
    return number * number


def divide(number: int, by: int) -> float:
    """Work that can fail."""
    return number / by


def main() -> None:
    """Everything a newcomer needs."""
    with Client(n_workers=2, threads_per_worker=2, dashboard_address=None) as client:
        # A future stands for a result. Give it to other tasks: nothing waits, and data stays on the workers.
        squares = client.map(slow_square, range(20))
        total = client.submit(sum, squares)
        print("sum of squares:", total.result())

        # Take results as they come.
        fresh = client.map(slow_square, range(100, 105))
        print("as they came:", sorted(future.result() for future in as_completed(fresh)))

        # An error is an outcome: it travels to whoever asks, with the traceback from the worker.
        broken = client.submit(divide, 1, 0)
        dependent = client.submit(slow_square, broken)
        try:
            dependent.result()
        except ZeroDivisionError as error:
            print("failed as it should:", error)

        # Large data: send it once, use it many times.
        [table] = client.scatter([list(range(100_000))])
        print("three uses:", client.gather([client.submit(function, table) for function in (min, max, len)]))


if __name__ == "__main__":
    main()
