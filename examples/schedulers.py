"""One graph, many schedulers: what ``make demo`` runs. The notebook of the same name tells the same story.

``inc`` takes a second. Eight of them and a sum take eight seconds one after the other, and less when several run at a
time. Who runs them is chosen later, and the graph does not change.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from myscheduler import Client, Delayed, LocalCluster, ProgressBar, config, delayed, progress

TASKS = 8


@delayed
def inc(x: int, seconds: float) -> int:
    """Some work."""
    time.sleep(seconds)
    return x + 1


class Stopwatch:
    """Runs things and remembers how long they took."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def run(self, name: str, function: Callable[..., int], *args: Any, **options: Any) -> None:
        """Run one thing and check its value."""
        print(f"\n{name}")
        begin = time.perf_counter()
        value = function(*args, **options)
        self.times[name] = time.perf_counter() - begin
        assert value == sum(range(1, TASKS + 1))
        print(f"{value} after {self.times[name]:.1f} s")

    def table(self) -> str:
        """All times, with bars."""
        width = max(map(len, self.times))
        rows = [
            f"  {name:<{width}}  {seconds:5.1f} s  {'#' * round(4 * seconds)}" for name, seconds in self.times.items()
        ]
        return "\n".join(rows)


def watched(client: Client, total: Delayed) -> int:
    """The total, with a bar while it is made."""
    future = client.compute(total)
    progress(future)
    result: int = future.result()
    return result


def on_this_machine(watch: Stopwatch, total: Delayed) -> None:
    """Without a cluster: one task after the other, threads, processes."""
    with ProgressBar():
        watch.run("synchronous", total.compute, scheduler="synchronous")
        watch.run("2 threads", total.compute, scheduler="threads", num_workers=2)
        watch.run("2 processes", total.compute, scheduler="processes", num_workers=2)


def on_clusters(watch: Stopwatch, total: Delayed) -> None:
    """Clusters that live as long as their client."""
    with Client() as client:  # a process for each core, as far as they are few
        watch.run("Client()", watched, client, total)
    with Client(processes=False) as client:  # threads of this process
        watch.run("Client(processes=False)", watched, client, total)


def on_a_growing_cluster(watch: Stopwatch, total: Delayed, cluster: LocalCluster, client: Client) -> None:
    """A cluster that is told how large to be."""
    watch.run("LocalCluster, 2 workers", watched, client, total)
    cluster.scale(4)
    client.wait_for_workers(4)
    watch.run("LocalCluster, 4 workers", watched, client, total)


def chosen(watch: Stopwatch, total: Delayed, client: Client) -> None:
    """First the argument of the call decides, then the configuration, then the open client."""
    config.set(scheduler="threads", num_workers=8)
    watch.run("globally: 8 threads", total.compute)
    with config.set(num_workers=4):
        watch.run("in a block: 4 threads", total.compute)
    watch.run("per call: the client", total.compute, scheduler=client)


def main() -> int:
    """The whole story."""
    parser = argparse.ArgumentParser(description="Run one graph with many schedulers and compare the times.")
    parser.add_argument("--stay", action="store_true", help="keep the last cluster and its dashboard until Ctrl-C")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each task takes (default: %(default)g)")
    options = parser.parse_args()

    print(f"{TASKS} tasks of {options.seconds:g} s each, and their sum")
    total = delayed(sum)([inc(x, options.seconds) for x in range(TASKS)])
    watch = Stopwatch()
    on_this_machine(watch, total)
    on_clusters(watch, total)
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
        on_a_growing_cluster(watch, total, cluster, client)
        chosen(watch, total, client)
        print(f"\nDashboard: {cluster.dashboard_link}\n\n{watch.table()}")
        stay(options.stay)
    return 0


def stay(for_long: bool) -> None:
    """Leave some time to look at the dashboard."""
    if not for_long and not sys.stdout.isatty():
        return
    seconds = 86_400 if for_long else 3
    print("\n  " + ("Ctrl-C ends it." if for_long else f"The dashboard stays for {seconds} s; longer with --stay."))
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
