"""The scheduler's answers about single tasks and workers, as plain values for JSON. Pure.

Like the model, everything that came over the wire is clipped and converted here; pages and scripts need not distrust it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..base.errors import KeyTypeError
from ..base.keys import validate_key
from .colours import Colours
from .keys import key_label, key_to_text
from .model import STATES, Model, Worker, number, text

#: Characters of an error's text and of a traceback.
_LONG_CHARS: Final = 16 * 1024
#: Entries of a list; the scheduler sends fewer.
_ITEMS: Final = 200
#: Seconds and blocks of the task stream on a worker's own page.
LANES_S: Final = 60.0
LANE_RUNS: Final = 600


def task(answer: object) -> dict[str, Any]:
    """The reply to the call ``task``.

    Examples
    --------
    >>> task({"key": ("x", 0), "status": "unknown", "why": "It was never submitted."})
    {'id': '~["x",0]', 'label': "('x', 0)", 'status': 'unknown', 'why': 'It was never submitted.'}
    """
    row = _mapping(answer)
    why = text(row.get("why"), _LONG_CHARS)
    if _status(row.get("status")) == "unknown":
        return {**_key(row.get("key")), "status": "unknown", "why": why}
    error = row.get("error")
    return {
        **_row(row),
        "why": why,
        "attempt": int(number(row.get("attempt"))),
        "retries_left": int(number(row.get("retries_left"))),
        "worker_deaths": int(number(row.get("deaths"))),
        "scattered": row.get("data") is True,
        "requirement": text(row.get("requirement")) or None,
        "kind_mean_s": round(number(row.get("duration")), 6) or None,
        "clients": int(number(row.get("clients"))),
        "inputs": _relatives(row.get("inputs")),
        "inputs_total": int(number(row.get("inputs_total"))),
        "dependents": _relatives(row.get("dependents")),
        "dependents_total": int(number(row.get("dependents_total"))),
        "error": _error(error) if isinstance(error, Mapping) else None,
    }


def tasks(answer: object, colours: Colours | None = None) -> dict[str, Any]:
    """The reply to the call ``tasks``."""
    found = _mapping(answer)
    return {
        "total": int(number(found.get("total"))),
        "offset": int(number(found.get("offset"))),
        "tasks": _rows(found.get("tasks"), colours),
    }


def worker(known: Worker | None, answer: object, colours: Colours | None = None) -> dict[str, Any]:
    """The reply to the call ``worker``, with the numbers of the model."""
    row = _mapping(answer)
    if known is None:
        known = Worker(text(row.get("incarnation")))
        known.update(0.0, row)
    resources, free = _mapping(row.get("resources")), _mapping(row.get("free_resources"))
    return {
        **known.to_dict(),
        "label": known.label,
        "versions": {text(name): text(value) for name, value in list(_mapping(row.get("versions")).items())[:20]},
        "resources": {
            text(name): {"total": number(amount), "free": number(free.get(name))}
            for name, amount in list(resources.items())[:_ITEMS]
        },
        "at_worker": _rows(row.get("at_worker"), colours),
        "at_worker_total": int(number(row.get("at_worker_total"))),
        "queued": _rows(row.get("queued_here"), colours),
        "queued_total": int(number(row.get("queued_here_total"))),
        "results": _rows(row.get("results"), colours),
        "results_total": int(number(row.get("results_total"))),
        "results_bytes": int(number(row.get("nbytes"))),
    }


def past(model: Model, known: Worker) -> dict[str, Any]:
    """What a worker's page draws: its recent numbers, and its part of the task stream.

    ``threads`` are the lanes from top to bottom; ``runs`` are rows ``(lane, start, end, name, link, count, failed,
    busy, colour)`` with times in seconds since 1970. ``link`` names the task if the block is one run.
    """
    stream = model.stream
    runs = stream.of_worker(known.incarnation, LANES_S, LANE_RUNS)
    threads = sorted({*range(known.threads), *(run.lane.thread for run in runs)}) if known.threads < 1000 else []
    lanes = {thread: position for position, thread in enumerate(threads)}
    rows = [
        (
            lanes[run.lane.thread],
            round(run.start, 6),
            round(run.end, 6),
            run.name if run.count == 1 else run.kind,
            key_to_text(run.key) if run.count == 1 and run.key is not None else "",
            run.count,
            run.failed,
            round(run.busy, 6),
            model.colours.of(run.kind),
        )
        for run in runs
        if run.lane.thread in lanes
    ]
    return {
        "cpu": list(known.cpu_history),
        "memory": list(known.memory_history),
        "received": list(known.received_history),
        "sent": list(known.sent_history),
        "stream": {"end": round(stream.latest, 3), "seconds": LANES_S, "threads": threads, "runs": rows},
    }


def _row(row: Mapping[str, Any], colours: Colours | None = None) -> dict[str, Any]:
    kind = text(row.get("kind"))
    found = {
        **_key(row.get("key")),
        "kind": kind,
        "status": _status(row.get("status")),
        "size_bytes": int(number(row.get("nbytes"))),
        "type": text(row.get("type")),
        "workers": [{"id": text(entry[0]), "name": text(entry[1])} for entry in _pairs(row.get("workers"))],
        "workers_total": int(number(row.get("workers_total"))),
    }
    return found if colours is None else {**found, "colour": colours.of(kind)}


def _rows(value: object, colours: Colours | None) -> list[dict[str, Any]]:
    rows = value if isinstance(value, (tuple, list)) else ()
    return [_row(row, colours) for row in rows[:_ITEMS] if isinstance(row, Mapping)]


def _key(value: object) -> dict[str, str]:
    try:
        key = validate_key(value)
    except KeyTypeError:
        return {"id": "", "label": text(repr(value))}
    return {"id": key_to_text(key), "label": key_label(key)}


def _relatives(value: object) -> list[dict[str, str]]:
    return [{**_key(entry[0]), "status": _status(entry[1])} for entry in _pairs(value)]


def _error(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "culprit": _key(value.get("culprit")),
        "text": text(value.get("text"), _LONG_CHARS),
        "traceback": text(value.get("traceback"), _LONG_CHARS),
    }


def _status(value: object) -> str:
    return str(value) if value in STATES else "unknown"


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _pairs(value: object) -> list[tuple[Any, Any]]:
    entries = value if isinstance(value, (tuple, list)) else ()
    return [(entry[0], entry[1]) for entry in entries[:_ITEMS] if isinstance(entry, (tuple, list)) and len(entry) == 2]
