"""A cluster that does not exist, for tests and for looking at the pages: ``python -m tests.dashboard.demo`` prints a link."""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from myscheduler.dashboard.model import Model
from myscheduler.dashboard.server import Server

GIB = 2**30
KINDS = (("load-parquet", 0.35, 0.08), ("normalize", 0.12, 0.05), ("fit-model", 0.9, 0.3), ("score", 0.04, 0.02))


class DemoSource:
    """Stands in for the feed: the same interface, made-up numbers.

    Parameters
    ----------
    workers, threads : int
        The size of the cluster.
    speed : float
        Tasks are this many times shorter.
    names : sequence of (kind, seconds, spread)
        The kinds of tasks.
    """

    def __init__(self, workers: int = 6, threads: int = 4, speed: float = 1.0, names: Any = KINDS, total: int = 4000):
        self.model = Model("demo")
        self._random = random.Random(7)
        self._kinds = [(name, mean / speed, spread / speed) for name, mean, spread in names]
        self._lanes: list[list[Any]] = [
            [f"{w:016x}", t, time.time() - 40.0] for w in range(workers) for t in range(threads)
        ]
        self._workers = workers
        self._threads = threads
        self._total = total
        self._done = {name: [0, 0] for name, _, _ in self._kinds}
        self._watchers: dict[int, Callable[[], None]] = {}
        self._count = 0

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        self._count += 1
        number = self._count
        self._watchers[number] = changed
        return lambda: self._watchers.pop(number, None) and None

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    async def refresh(self) -> None:
        pass

    async def ask(self, method: str, *args: Any) -> Any:
        """Answers as the scheduler would about tasks that all look alike."""
        if method == "tasks":
            name, status, offset, limit = args
            found = [row for row in self._tasks if name in (None, row["kind"]) and status in (None, row["status"])]
            return {"total": len(found), "offset": offset, "tasks": found[offset : offset + limit]}
        if method == "worker":
            rows = [
                row for row in self._overview(time.time())["workers"] if args[0] in (row["incarnation"], row["name"])
            ]
            here = {
                "at_worker": self._tasks[:2],
                "at_worker_total": 2,
                "results": self._tasks[:50],
                "results_total": 120,
            }
            more = {"resources": {"GPU": 2.0}, "free_resources": {"GPU": 1.0}, "versions": {"python": "3.11"}}
            return {**rows[0], **here, **more} if rows else None
        known = next((row for row in self._tasks if row["key"] == args[0]), None)
        if known is None:
            return {"key": args[0], "status": "unknown", "why": f"The scheduler does not know {args[0]!r}."}
        error = {"culprit": known["key"], "text": "ValueError: no", "traceback": "Traceback\nValueError: no"}
        relatives = [(row["key"], row["status"]) for row in self._tasks[:3]]
        return {
            **known,
            "why": f"{known['key']!r} is where it is.",
            "attempt": 7,
            "clients": 1,
            "inputs": relatives,
            "inputs_total": 300,
            "dependents": (),
            "dependents_total": 0,
            "error": error if known["status"] == "erred" else None,
        }

    @property
    def _tasks(self) -> list[dict[str, Any]]:
        where = [(f"{0:016x}", "worker-0")]
        rows = [
            {"key": f"{name}-{i}", "kind": name, "status": "memory", "nbytes": 1000 + i, "type": "DataFrame", "workers": where,
             "workers_total": 1}
            for name, _, _ in self._kinds
            for i in range(60)
        ]  # fmt: skip
        rows.append({**rows[0], "key": ("x", 0), "status": "erred", "type": "", "workers": [], "workers_total": 0})
        return rows

    def step(self) -> None:
        now = time.time()
        rows = []
        for lane in self._lanes:
            while lane[2] < now:
                share = sum(done for done, _ in self._done.values()) / (self._total * len(self._kinds))
                index = min(int(self._random.gauss(share * len(self._kinds), 0.45) + 0.35), len(self._kinds) - 1)
                name, mean, spread = self._kinds[max(index, 0)]
                duration = max(self._random.gauss(mean, spread), mean / 10)
                if self._random.random() < 0.02:
                    lane[2] += duration
                    continue
                ok = self._random.random() > 0.004
                self._done[name][0 if ok else 1] += 1
                rows.append((f"{name}-{self._random.getrandbits(64):016x}", lane[0], lane[1], lane[2], duration, ok))
                lane[2] += duration * 1.03 + 0.002
        rows.sort(key=lambda row: row[3] + row[4])
        self.model.set_connection("connected")
        self.model.add_runs(rows)
        self.model.set_overview(now, self._overview(now))
        self.model.tick(now)
        for changed in list(self._watchers.values()):
            changed()

    def _overview(self, now: float) -> dict[str, Any]:
        r = self._random
        workers = [
            {
                "incarnation": f"{w:016x}",
                "name": f"worker-{w}",
                "address": f"tcp://10.0.0.{w + 11}:40{w:03}",
                "host": f"node{w}",
                "pid": 4000 + w,
                "nthreads": self._threads,
                "memory_limit": 8 * GIB,
                "status": "running" if w != 4 else "paused",
                "tasks": self._threads * 2,
                "stored": 120 + w,
                "nbytes": GIB,
                "last_seen_s": 0.4,
                "metrics": {
                    "cpu": r.uniform(60, 99) * self._threads,
                    "memory": (1.5 + w * 1.1 + r.random() * 0.3) * GIB,
                    "managed": (0.5 + 0.6 * w) * GIB,
                    "executing": self._threads,
                    "ready": 3,
                    "time": now,
                    "bytes_in": now * 3e6 * (w + 1),
                    "bytes_out": now * 1e6,
                },
            }
            for w in range(self._workers)
        ]
        progress = []
        for name, (done, failed) in self._done.items():
            total = max(self._total, done + failed + 40)
            released = int(done * 0.7)
            left = total - done - failed
            assigned = min(left, 48)
            counts = {"memory": done - released, "released": released, "erred": failed, "assigned": assigned}
            progress.append({"name": name, **counts, "queued": 0, "waiting": left - assigned})
        return {"workers": workers, "progress": progress, "clients": 1, "address": "tcp://10.0.0.10:8786"}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8787)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--token", default=secrets.token_urlsafe(24))
    arguments = parser.parse_args()
    sock = socket.create_server(("127.0.0.1", arguments.port))
    source = DemoSource(arguments.workers, arguments.threads, arguments.speed)
    server = Server(source, arguments.token, [sock])
    server.start()
    print(f"http://127.0.0.1:{server.port}/?token={arguments.token}", flush=True)
    while True:
        if not arguments.empty:
            source.step()
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(main())
