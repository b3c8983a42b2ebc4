"""Graphs: describe the whole computation first, run it anywhere: in this thread, in threads, on a cluster."""

from __future__ import annotations

from myscheduler import Client, compute, delayed


@delayed
def load(part: int) -> list[int]:
    """Pretend to read a file."""
    return list(range(part * 1_000, (part + 1) * 1_000))


@delayed
def clean(numbers: list[int]) -> list[int]:
    """Drop what is not wanted."""
    return [number for number in numbers if number % 7]


@delayed
def summarize(parts: list[list[int]]) -> dict[str, int]:
    """Look at everything."""
    return {"count": sum(map(len, parts)), "total": sum(map(sum, parts))}


def main() -> None:
    """The same graph, three ways to run it."""
    summary = summarize([clean(load(part)) for part in range(8)])  # nothing has run yet

    print("in this thread:", summary.compute(scheduler="synchronous"))
    print("in threads:    ", summary.compute(scheduler="threads"))
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        print("on a cluster:  ", summary.compute())  # the client is the default while it is open
        first, last = compute(clean(load(0)), clean(load(7)))  # several results, shared work done once
        print("two parts:     ", len(first), len(last))


if __name__ == "__main__":
    main()
