"""What the pages show: the task stream, progress by kind of task, workers and their recent past, totals of the cluster.

Pure: events of the feed go in with the time they arrived, plain values come out. Everything that came over the wire is
clipped and converted here, so that pages and the JSON interface need not distrust it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .colours import Colours
from .stream import TaskStream, natural

#: Samples of the cluster's past: five minutes at two a second.
HISTORY: Final = 600
#: Samples kept for each worker: a minute; the last half of them is shown beside its row.
WORKER_HISTORY: Final = 120
SPARK: Final = 60
#: Workers listed on a page; the totals count all of them.
WORKERS_SHOWN: Final = 200
#: Kinds of tasks listed on a page.
KINDS_SHOWN: Final = 60
_TEXT_CHARS: Final = 256
#: Why nothing goes on takes some sentences.
_STALLED_CHARS: Final = 2000
#: Share of a new sample in the smoothed rate of tasks.
_SMOOTHING: Final = 0.4
#: The states of a task, in the order in which a progress bar shows them.
STATES: Final = ("memory", "released", "erred", "assigned", "queued", "waiting", "retrying")
#: Those in which a task has its run, or another one, before it.
_PENDING: Final = ("assigned", "queued", "waiting", "retrying")

Connection = Literal["connecting", "connected", "lost"]


@dataclass(slots=True)
class Sample:
    """The cluster at one moment; ``time`` in seconds since 1970, sizes in bytes, ``cpu`` in percent of all threads."""

    time: float
    rate: float
    cpu: float
    cpu_busiest: float
    memory: float
    managed: float


@dataclass(slots=True)
class Worker:
    """One worker as last heard of, and its recent past."""

    incarnation: str
    name: str = ""
    address: str = ""
    host: str = ""
    status: str = ""
    pid: int = 0
    threads: int = 0
    cpu: float = 0.0
    memory: float = 0.0
    memory_limit: float = 0.0
    managed: float = 0.0
    executing: int = 0
    ready: int = 0
    assigned: int = 0
    stored: int = 0
    seen: float = 0.0
    received_rate: float = 0.0
    sent_rate: float = 0.0
    counters: tuple[float, float, float] | None = None
    cpu_history: deque[int] = field(default_factory=lambda: deque(maxlen=WORKER_HISTORY))
    memory_history: deque[int] = field(default_factory=lambda: deque(maxlen=WORKER_HISTORY))
    received_history: deque[int] = field(default_factory=lambda: deque(maxlen=WORKER_HISTORY))
    sent_history: deque[int] = field(default_factory=lambda: deque(maxlen=WORKER_HISTORY))

    def update(self, now: float, row: Mapping[str, Any]) -> None:
        """Take a worker map of the reply to ``overview``."""
        metrics = row.get("metrics")
        metrics = metrics if isinstance(metrics, Mapping) else {}
        self.name = text(row.get("name")) or self.incarnation
        self.address, self.host, self.status = text(row.get("address")), text(row.get("host")), text(row.get("status"))
        self.pid, self.threads = int(number(row.get("pid"))), int(number(row.get("nthreads")))
        self.memory_limit = number(row.get("memory_limit"))
        self.assigned, self.stored = int(number(row.get("tasks"))), int(number(row.get("stored")))
        self.seen = number(row.get("last_seen_s"))
        self.cpu = number(metrics.get("cpu")) / max(self.threads, 1)
        self.memory = number(metrics.get("memory"))
        self.managed = number(metrics.get("managed")) or number(row.get("nbytes"))
        self.executing, self.ready = int(number(metrics.get("executing"))), int(number(metrics.get("ready")))
        self._update_rates(now, metrics)
        self.cpu_history.append(round(min(self.cpu, 100)))
        self.memory_history.append(int(self.memory))
        self.received_history.append(round(self.received_rate))
        self.sent_history.append(round(self.sent_rate))

    def _update_rates(self, now: float, metrics: Mapping[str, Any]) -> None:
        at = number(metrics.get("time")) or now
        counters = (at, number(metrics.get("bytes_in")), number(metrics.get("bytes_out")))
        before = self.counters
        if before is None or counters[0] > before[0]:
            if before is not None:
                elapsed = counters[0] - before[0]
                self.received_rate = max(counters[1] - before[1], 0.0) / elapsed
                self.sent_rate = max(counters[2] - before[2], 0.0) / elapsed
            self.counters = counters

    @property
    def received_total(self) -> int:
        """Bytes that came in since it began."""
        return int(self.counters[1]) if self.counters else 0

    @property
    def sent_total(self) -> int:
        """Bytes that went out since it began."""
        return int(self.counters[2]) if self.counters else 0

    @property
    def memory_percents(self) -> list[int]:
        """The recent past of its memory in percent of its limit."""
        limit = self.memory_limit
        return [round(100 * min(value / limit, 1)) if limit else 0 for value in list(self.memory_history)[-SPARK:]]

    @property
    def label(self) -> str:
        """What to call it where it is not clear from the place that a worker is meant."""
        return f"worker {self.name}" if self.name.isdigit() else self.name

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the past."""
        return {
            "id": self.incarnation,
            "name": self.name,
            "address": self.address,
            "host": self.host,
            "pid": self.pid,
            "status": self.status,
            "threads": self.threads,
            "cpu_percent": round(self.cpu, 1),
            "memory_bytes": int(self.memory),
            "memory_limit_bytes": int(self.memory_limit),
            "managed_bytes": int(self.managed),
            "executing": self.executing,
            "ready": self.ready,
            "assigned": self.assigned,
            "stored_results": self.stored,
            "received_bytes_per_s": round(self.received_rate),
            "sent_bytes_per_s": round(self.sent_rate),
            "last_seen_s": round(self.seen, 1),
        }


@dataclass(slots=True)
class _Wave:
    """Where the tasks of one kind stood at the last overview, and how many were gone when the present work began.

    A cluster lives long: a bar that counts all tasks it ever ran would stand at 100 % when the next thousand begin.
    """

    pending: int = 0
    gone: int = 0
    start: int = 0


class Model:
    """Everything the dashboard knows about one cluster.

    Parameters
    ----------
    name : str
        What to call the cluster on the pages.

    Examples
    --------
    >>> model = Model("demo")
    >>> model.add_runs([("inc-1", "w", 0, 1000.0, 0.5, True)])
    >>> model.tick(1001.0)
    >>> [(run.kind, run.count) for run in model.stream.all()]
    [('inc', 1)]
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.colours = Colours()
        self.clear()

    def clear(self) -> None:
        """Forget what was seen of a cluster: another scheduler is in charge now, or none has been seen yet."""
        before: TaskStream | None = getattr(self, "stream", None)
        self.stream = TaskStream(before.sequence, before.generation + 1) if before is not None else TaskStream()
        self.workers: dict[str, Worker] = {}
        self.progress: list[dict[str, Any]] = []
        self._waves: dict[str, _Wave] = {}
        self.history: deque[Sample] = deque(maxlen=HISTORY)
        self.samples = 0
        self.clients = 0
        self.stale: dict[str, int] = {}
        self.stalled = ""
        self.answer_s = 0.0
        self.address = ""
        self.epoch = 0
        self.connection: Connection = "connecting"
        self.connection_text = ""
        self.time = 0.0
        self.rate = 0.0
        self._counted: tuple[float, int] | None = None

    # ---- what comes in ----------------------------------------------------------------------------------------------

    def set_connection(self, state: Connection, reason: str = "") -> None:
        """Say whether the scheduler can be heard, and why not."""
        self.connection = state
        self.connection_text = text(reason)

    def add_runs(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take the rows of EVENTS: ``(key, worker incarnation, thread, start, duration, ok)``."""
        self.stream.add(rows)

    def set_overview(self, now: float, overview: Mapping[str, Any]) -> None:
        """Take the reply to the call ``overview``, heard at wall time ``now``."""
        self.clients = int(number(overview.get("clients")))
        stale, stalled = overview.get("stale"), overview.get("stalled")
        self.stale = (
            {text(kind): int(number(count)) for kind, count in stale.items()} if isinstance(stale, Mapping) else {}
        )
        self.stalled = text(stalled.get("text"), _STALLED_CHARS) if isinstance(stalled, Mapping) else ""
        self.address = text(overview.get("address"))
        rows = [row for row in overview.get("workers") or () if isinstance(row, Mapping)]
        workers: dict[str, Worker] = {}
        for row in rows:
            incarnation = text(row.get("incarnation"))
            worker = workers[incarnation] = self.workers.get(incarnation) or Worker(incarnation)
            worker.update(now, row)
        self.workers = dict(sorted(workers.items(), key=lambda item: (natural(item[1].name), item[0])))
        self.stream.rename({incarnation: worker.name for incarnation, worker in self.workers.items()})
        waves: dict[str, _Wave] = {}
        progress = [row for row in overview.get("progress") or () if isinstance(row, Mapping)]
        self.progress = [self._progress_row(row, waves) for row in progress]
        self._waves = waves

    def _progress_row(self, row: Mapping[str, Any], waves: dict[str, _Wave]) -> dict[str, Any]:
        name = text(row.get("name"))
        counts = {state: int(number(row.get(state))) for state in STATES}
        pending = sum(counts[state] for state in _PENDING)
        # Runs that ended well and that the scheduler has since forgotten, because nobody needs them any more.
        runs = int(number(row.get("done")))
        gone = max(runs - counts["memory"] - counts["released"], 0)
        wave = self._waves.get(name) or _Wave()
        if pending and not wave.pending:
            wave.start = wave.gone
        wave.pending, wave.gone = pending, gone
        waves[name] = wave
        counts["released"] += max(gone - wave.start, 0)
        totals = self.stream.kinds.get(name)
        mean = totals.busy / totals.runs if totals is not None else number(row.get("duration"))
        mean_s = round(number(mean), 6) or None
        return {"name": name, "total": sum(counts.values()), **counts, "runs": runs, "mean_s": mean_s}

    def tick(self, now: float) -> None:
        """End an update at wall time ``now``: make new runs visible, take a sample of the cluster."""
        self.time = now
        self.stream.flush(now)
        finished = self.stream.finished
        if self._counted is not None and now > self._counted[0]:
            current = (finished - self._counted[1]) / (now - self._counted[0])
            self.rate += _SMOOTHING * (current - self.rate)
            if not current and self.rate < 1:
                self.rate = 0.0
        self._counted = (now, finished)
        workers = self.workers.values()
        threads = sum(worker.threads for worker in workers)
        self.samples += 1
        self.history.append(
            Sample(
                time=now,
                rate=self.rate,
                cpu=sum(worker.cpu * worker.threads for worker in workers) / threads if threads else 0.0,
                cpu_busiest=max((worker.cpu for worker in workers), default=0.0),
                memory=sum(worker.memory for worker in workers),
                managed=sum(worker.managed for worker in workers),
            )
        )

    # ---- what goes out ----------------------------------------------------------------------------------------------

    def totals(self) -> dict[str, Any]:
        """Sums over the cluster: workers, threads, CPU, memory, tasks by state."""
        workers = self.workers.values()
        counts = {state: sum(row[state] for row in self.progress) for state in STATES}
        threads = sum(worker.threads for worker in workers)
        total = sum(row["total"] for row in self.progress)
        return {
            "workers": len(workers),
            "threads": threads,
            "clients": self.clients,
            "cpu_percent": round(sum(w.cpu * w.threads for w in workers) / threads, 1) if threads else 0.0,
            "memory_bytes": int(sum(worker.memory for worker in workers)),
            "memory_limit_bytes": int(sum(worker.memory_limit for worker in workers)),
            "managed_bytes": int(sum(worker.managed for worker in workers)),
            "tasks": {
                "total": total,
                "done": counts["memory"] + counts["released"],
                "failed": counts["erred"],
                "failed_runs": max(self.stream.failed, counts["erred"]),
                "running": sum(worker.executing for worker in workers),
                "pending": sum(counts[state] for state in _PENDING),
            },
            "tasks_per_s": round(self.rate, 1),
        }

    def cluster(self) -> dict[str, Any]:
        """What cluster this is, and whether its scheduler can be heard."""
        return {
            "name": self.name,
            "address": self.address,
            "connection": self.connection,
            "connection_text": self.connection_text,
            "stalled": self.stalled,
        }

    def find_worker(self, name: str) -> Worker | None:
        """A connected worker by incarnation, name or address."""
        found = self.workers.get(name)
        return found or next((w for w in self.workers.values() if name in (w.name, w.address)), None)

    def overview(self) -> dict[str, Any]:
        """All numbers as plain values: what ``/api/v1/overview`` answers."""
        return {
            "cluster": self.cluster(),
            "time": round(self.time, 3),
            "totals": self.totals(),
            "progress": self.progress,
            "workers": [worker.to_dict() for worker in self.workers.values()],
        }

    def page(self) -> dict[str, Any]:
        """``overview`` as a page wants it: with colours and recent past, and not more rows than anybody reads."""
        view = self.overview()
        view["progress_hidden"] = max(len(self.progress) - KINDS_SHOWN, 0)
        view["progress"] = [{**row, "colour": self.colours.of(row["name"])} for row in self._most_wanted(self.progress)]
        view["workers_hidden"] = max(len(self.workers) - WORKERS_SHOWN, 0)
        view["workers"] = [
            {
                **row,
                "label": worker.label,
                "cpu_history": list(worker.cpu_history)[-SPARK:],
                "memory_history": worker.memory_percents,
            }
            for row, worker in zip(view["workers"][:WORKERS_SHOWN], self.workers.values(), strict=False)
        ]
        stream = self.stream
        view["stream"] = {"finished": stream.finished, "latest": round(stream.latest, 3), "hidden": stream.hidden}
        return view

    def _most_wanted(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As many kinds as are shown, unfinished ones preferred, in the order in which they came."""
        if len(rows) <= KINDS_SHOWN:
            return rows
        unfinished = [row for row in rows if any(row[state] for state in (*_PENDING, "erred"))]
        finished = [row for row in rows if not any(row[state] for state in (*_PENDING, "erred"))]
        chosen = unfinished[:KINDS_SHOWN]
        return chosen + finished[len(finished) - (KINDS_SHOWN - len(chosen)) :]


def number(value: object) -> float:
    """What a peer said was a number, or 0: finite, not negative.

    Examples
    --------
    >>> [number(value) for value in (3, 2.5, -1, float("nan"), "7", None, True)]
    [3.0, 2.5, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    if type(value) is int or type(value) is float:
        return float(value) if 0 <= value < 1e18 else 0.0
    return 0.0


def text(value: object, limit: int = _TEXT_CHARS) -> str:
    """What a peer said was a text, or the text of it, clipped to a length that fits on a page.

    Examples
    --------
    >>> text("w"), text(None), text(7), len(text("x" * 1000))
    ('w', '', '7', 256)
    """
    if value is None:
        return ""
    result = value if type(value) is str else str(value)
    return result if len(result) <= limit else result[: limit - 1] + "…"
