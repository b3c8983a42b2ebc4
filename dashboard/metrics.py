"""The cluster's numbers as Prometheus reads them (text format 0.0.4). Pure.

How many series there are is bounded, however many kinds of tasks and workers a cluster has seen: the kinds with the most
tasks keep their names, the others are summed up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .model import STATES, Model, Worker

#: Kinds of tasks that get series of their own.
KINDS_MAX: Final = 50
#: Workers that get series of their own.
WORKERS_MAX: Final = 1_000
#: What the other kinds are summed up under. No key begins like that by accident.
OTHER: Final = "(other)"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]

_WORKER_METRICS: Final[tuple[tuple[str, str, str, Callable[[Worker], float]], ...]] = (
    ("worker_threads", "gauge", "Tasks that the worker runs at a time.", lambda w: w.threads),
    ("worker_cpu_cores", "gauge", "Cores that the worker's process keeps busy.", lambda w: w.cpu * w.threads / 100),
    ("worker_memory_bytes", "gauge", "Resident memory of the worker's process.", lambda w: w.memory),
    ("worker_memory_limit_bytes", "gauge", "Memory that the worker may use; 0 for no limit.", lambda w: w.memory_limit),
    ("worker_results_bytes", "gauge", "Memory that results need.", lambda w: w.managed),
    ("worker_results", "gauge", "Results that the worker holds.", lambda w: w.stored),
    ("worker_running_tasks", "gauge", "Tasks that are inside of a thread.", lambda w: w.executing),
    ("worker_assigned_tasks", "gauge", "Tasks that were sent to the worker and have not ended.", lambda w: w.assigned),
    ("worker_received_bytes_total", "counter", "Bytes that came in over the network.", lambda w: w.received_total),
    ("worker_sent_bytes_total", "counter", "Bytes that went out over the network.", lambda w: w.sent_total),
    ("worker_last_seen_seconds", "gauge", "Time since the worker was last heard of.", lambda w: w.seen),
)


def render(model: Model) -> str:
    """All metrics as one text.

    Parameters
    ----------
    model : Model
        Asked for its numbers just before. While the scheduler cannot be heard, only that is said.

    Returns
    -------
    str
        Lines that end in a newline each.

    Examples
    --------
    >>> print(render(Model()), end="")
    # HELP myscheduler_scheduler_up Whether the dashboard hears the scheduler.
    # TYPE myscheduler_scheduler_up gauge
    myscheduler_scheduler_up 0
    """
    up = model.connection == "connected"
    lines = _family("scheduler_up", "gauge", "Whether the dashboard hears the scheduler.", [({}, float(up))])
    if not up:
        return "".join(lines)
    workers = list(model.workers.values())
    statuses: dict[str, int] = {}
    for worker in workers:
        statuses[worker.status] = statuses.get(worker.status, 0) + 1
    lines += _family(
        "scheduler_answer_seconds",
        "gauge",
        "Time that the scheduler took to answer the last question of the dashboard.",
        [({}, model.answer_s)],
    )
    lines += _family(
        "stale_messages_total",
        "counter",
        "Messages of the past, which changed nothing.",
        [({"kind": _printable(kind)}, count) for kind, count in model.stale.items()],
    )
    stalled = float(model.stalled != "")
    lines += _family("stalled", "gauge", "Whether nothing goes on although tasks wait to be run.", [({}, stalled)])
    lines += _family("clients", "gauge", "Clients that are connected.", [({}, model.clients)])
    counts = [({"status": status}, float(count)) for status, count in statuses.items()]
    lines += _family("workers", "gauge", "Workers that are connected.", counts or [({"status": "running"}, 0.0)])
    threads = sum(worker.threads for worker in workers)
    lines += _family("threads", "gauge", "Threads of all workers.", [({}, threads)])
    lines += _kinds(model.progress)
    named = [({"worker": worker.name, "id": worker.incarnation}, worker) for worker in workers[:WORKERS_MAX]]
    for name, kind, help_text, value in _WORKER_METRICS:
        lines += _family(name, kind, help_text, [(labels, value(worker)) for labels, worker in named])
    return "".join(lines)


def _kinds(progress: list[dict[str, Any]]) -> list[str]:
    ordered = sorted(progress, key=lambda row: (-row["total"], row["name"]))
    named = len(ordered) if len(ordered) <= KINDS_MAX else KINDS_MAX - 1
    kinds: dict[str, dict[str, float]] = {}
    means: list[Sample] = []
    for index, row in enumerate(ordered):
        name = _printable(row["name"]) if index < named else OTHER
        sums = kinds.get(name)
        if sums is None:
            sums = kinds[name] = dict.fromkeys((*STATES, "runs"), 0.0)
            if row["mean_s"] and index < named:
                means.append(({"kind": name}, row["mean_s"]))
        for column in sums:
            sums[column] += row[column]
    states = [({"kind": name, "state": state}, sums[state]) for name, sums in kinds.items() for state in STATES]
    runs = [({"kind": name}, sums["runs"]) for name, sums in kinds.items()]
    return [
        *_family("tasks", "gauge", "Tasks by kind and by where they stand.", states),
        *_family("runs_total", "counter", "Runs of tasks that ended well.", runs),
        *_family("task_duration_seconds", "gauge", "How long a task of this kind takes, as measured.", means),
    ]


def _family(name: str, kind: str, help_text: str, samples: Iterable[Sample]) -> list[str]:
    name = f"myscheduler_{name}"
    return [
        f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n",
        *(f"{name}{_labels(labels)} {_number(value)}\n" for labels, value in samples),
    ]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _printable(value: str) -> str:
    # Lone surrogates, which some names of files hold, are no UTF-8.
    return value.encode("utf-8", "replace").decode()


def _escape(value: str) -> str:
    return _printable(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 9))
