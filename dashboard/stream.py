"""The task stream: finished runs as rectangles in lanes, few enough for a browser however many tasks there were.

Pure. A *lane* is one thread of one worker. A rectangle is one run, or a row of adjacent runs too short to be seen
apart. Two limits hold at any load: how many rectangles one update adds, and how many are kept. Beyond them neighbours
are merged, first of the same kind of task, then whatever is shorter than the resolution; failed runs stay visible. Old
rectangles are merged again more coarsely instead of being dropped, so a long history stays on the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..base.keys import Key, key_prefix

#: Rectangles that one update may add.
RUNS_PER_UPDATE: Final = 2_000
#: Rectangles kept; beyond that the older ones are merged.
RUNS_KEPT: Final = 20_000
#: Lanes shown; runs in later ones are counted only.
LANES_MAX: Final = 2_000
#: Seconds of history.
AGE_MAX_S: Final = 3600.0
#: Seconds that the lanes of a worker stay after it left.
GONE_AGE_MAX_S: Final = 300.0
#: The finest and coarsest resolution that incoming runs are merged with, in seconds.
RESOLUTION_MIN_S: Final = 0.001
RESOLUTION_MAX_S: Final = 0.256
#: A clock that is further off than this is wrong, and would squeeze everything else into one pixel.
SKEW_MAX_S: Final = 600.0
NAME_CHARS: Final = 120
_MEMO_SIZE: Final = 4096


class Lane:
    """One thread of one worker: a row of the picture."""

    __slots__ = ("open", "position", "thread", "worker")

    def __init__(self, worker: str, thread: int) -> None:
        self.worker = worker
        self.thread = thread
        self.position = 0
        self.open: Run | None = None


@dataclass(slots=True)
class KindTotals:
    """Finished runs of one kind of task: how many, and the seconds they took together."""

    runs: int = 0
    busy: float = 0.0


class Run:
    """A rectangle: ``count`` runs of tasks of one kind in one lane; times in seconds since 1970."""

    __slots__ = ("busy", "count", "end", "failed", "key", "kind", "lane", "mixed", "name", "start")

    def __init__(
        self, lane: Lane, kind: str, name: str, start: float, end: float, failed: bool, key: Key | None = None
    ) -> None:
        self.lane = lane
        self.key = key  # of the first run; None if it is too long to be kept
        self.kind = kind
        self.name = name
        self.start = start
        self.end = end
        self.busy = end - start
        self.count = 1
        self.failed = int(failed)
        self.mixed = False

    def absorb(self, other: Run) -> None:
        """Grow over ``other``, a later run of the same lane."""
        if other.kind != self.kind:
            self.mixed = True
            if other.busy > self.busy:
                self.kind = other.kind
        self.mixed = self.mixed or other.mixed
        self.start = min(self.start, other.start)
        self.end = max(self.end, other.end)
        self.busy += other.busy
        self.count += other.count
        self.failed += other.failed

    def copy(self) -> Run:
        """Another one of the same, to be merged differently."""
        run = Run(self.lane, self.kind, self.name, self.start, self.end, False, self.key)
        run.busy, run.count, run.failed, run.mixed = self.busy, self.count, self.failed, self.mixed
        return run


def condense(runs: Iterable[Run], resolution: float) -> list[Run]:
    """Merge neighbours that cannot be told apart at ``resolution`` seconds per pixel. Changes the runs it is given.

    Parameters
    ----------
    runs : iterable of Run
        In the order of their ends within each lane.
    resolution : float
        Seconds.

    Returns
    -------
    list of Run
        In the same order, at most as many.

    Examples
    --------
    >>> lane = Lane("w", 0)
    >>> runs = [Run(lane, "inc", f"inc-{i}", i * 0.001, i * 0.001 + 0.0009, False) for i in range(5)]
    >>> [run.count for run in condense(runs, 0.001)]
    [5]
    """
    last: dict[Lane, Run] = {}
    kept: list[Run] = []
    for run in runs:
        before = last.get(run.lane)
        if before is not None and run.start - before.end <= resolution and _alike(before, run, resolution):
            before.absorb(run)
        else:
            last[run.lane] = run
            kept.append(run)
    return kept


def _alike(before: Run, run: Run, resolution: float) -> bool:
    if before.end - before.start <= resolution and run.end - run.start <= resolution:
        return True
    if before.kind != run.kind or bool(before.failed) != bool(run.failed):
        return False
    return before.busy <= resolution * before.count and run.busy <= resolution * run.count


def squeeze(runs: list[Run], limit: int) -> list[Run]:
    """Condense ever more coarsely until at most ``limit`` are left; if lanes outnumber the limit, the newest stay."""
    resolution = RESOLUTION_MIN_S
    while len(runs) > limit and resolution <= AGE_MAX_S:
        runs = condense(runs, resolution)
        resolution *= 1.5
    return runs[-limit:]


class TaskStream:
    """Collects finished runs and hands them out as rectangles.

    ``sequence`` counts the rectangles ever added; ``generation`` changes when older ones changed or moved, so that
    whoever shows them must take all of them again. ``finished`` counts runs, ``hidden`` those that are not shown, because
    there are too many lanes or their times make no sense. ``latest`` is the wall time at which the picture ends.
    """

    def __init__(self, sequence: int = 0, generation: int = 0) -> None:
        self.sequence = sequence
        self.generation = generation
        self.finished = 0
        self.failed = 0
        self.hidden = 0
        self.latest = 0.0
        self._kept: list[Run] = []
        self._pending: list[Run] = []
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._names: dict[str, str] = {}
        self._resolution = 0.0
        self.kinds: dict[str, KindTotals] = {}
        self._memo: dict[str, str] = {}
        self._lanes_changed = False

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take rows ``(key, worker incarnation, thread, start, duration, ok)``, as the message EVENTS carries them."""
        lanes = self._lanes
        resolution = self._resolution
        for key, worker, thread, start, duration, ok in rows:
            self.finished += 1
            lane = lanes.get((worker, thread))
            if lane is None:
                lane = self._new_lane(worker, thread)
                if lane is None:
                    self.hidden += 1
                    continue
            kind = self.kind(key)
            last = lane.open
            if (
                last is not None
                and last.kind == kind
                and ok
                and 0.0 <= duration <= resolution
                and -resolution <= start - last.end <= resolution
                and not last.failed
                and last.busy <= resolution * last.count
            ):
                last.end = max(last.end, start + duration)
                last.busy += duration
                last.count += 1
            else:
                self._open(lane, kind, key, start, duration, ok)

    def _open(self, lane: Lane, kind: str, key: Key, start: float, duration: float, ok: bool) -> None:
        self.failed += not ok
        if not (0.0 <= duration <= 1e9 and 0.0 < start < 1e11):  # NaN and infinity as well
            self.hidden += 1
            return
        name = key if type(key) is str else repr(key)
        if len(name) <= NAME_CHARS:
            run = Run(lane, kind, name, start, 0.0, not ok, key)
        else:
            run = Run(lane, kind, name[: NAME_CHARS - 1] + "…", start, 0.0, not ok)
        run.end = start + duration
        run.busy = duration
        lane.open = run
        self._pending.append(run)

    def kind(self, key: Key) -> str:
        """The kind of task a key belongs to, remembered for keys that end in a counter."""
        if type(key) is str:
            head, dash, tail = key.rpartition("-")
            if dash and tail.isdigit():
                kind = self._memo.get(head)
                if kind is None:
                    if len(self._memo) >= _MEMO_SIZE:
                        self._memo.clear()
                    kind = self._memo[head] = key_prefix(key)
                return kind
        return key_prefix(key)

    def _new_lane(self, worker: str, thread: int) -> Lane | None:
        if len(self._lanes) >= LANES_MAX:
            return None
        lane = self._lanes[worker, thread] = Lane(worker, thread)
        self._lanes_changed = True
        return lane

    def rename(self, names: Mapping[str, str]) -> None:
        """Learn what the workers are called; lanes are ordered by that."""
        if self._names != names:
            self._names = dict(names)
            self._lanes_changed = True

    def flush(self, now: float) -> None:
        """End an update at wall time ``now``: what was added since the last one becomes visible."""
        runs, self._pending = self._pending, []
        for run in runs:
            run.lane.open = None
            self._count(run)
        if len(runs) > RUNS_PER_UPDATE // 2:
            self._resolution = min(max(self._resolution * 2, RESOLUTION_MIN_S), RESOLUTION_MAX_S)
        elif len(runs) < RUNS_PER_UPDATE // 8:
            self._resolution = self._resolution / 2 if self._resolution > RESOLUTION_MIN_S else 0.0
        runs = squeeze(runs, RUNS_PER_UPDATE)
        self._kept.extend(runs)
        self.sequence += len(runs)
        if runs:
            # A worker with a clock far ahead must not push everybody else out of the picture.
            plausible = [run.end for run in runs if abs(run.end - now) <= SKEW_MAX_S]
            self.latest = max(self.latest, *(plausible or [run.end for run in runs]))
        if len(self._kept) > RUNS_KEPT:
            self._compact()
        if self._lanes_changed:
            self._arrange()

    def _count(self, run: Run) -> None:
        totals = self.kinds.get(run.kind)
        if totals is None:
            if len(self.kinds) >= _MEMO_SIZE:
                self.kinds.clear()
            totals = self.kinds[run.kind] = KindTotals()
        totals.runs += run.count
        totals.busy += run.busy

    def _compact(self) -> None:
        """Make room: forget what is too old, and merge the older rectangles of what is left."""
        border = len(self._kept) - RUNS_KEPT // 4
        oldest = self.latest - AGE_MAX_S
        older = squeeze([run for run in self._kept[:border] if run.end >= oldest], RUNS_KEPT // 4)
        self._kept = older + self._kept[border:]
        self.generation += 1
        self._lanes_changed = True

    def _arrange(self) -> None:
        """Order the lanes, without those of workers that are gone and have been quiet for a while."""
        self._lanes_changed = False
        alive, quiet = self._names, self.latest - GONE_AGE_MAX_S
        kept = [run for run in self._kept if run.lane.worker in alive or run.end >= quiet]
        if len(kept) != len(self._kept):
            self._kept = kept
            self.generation += 1
        shown = {run.lane: None for run in kept}
        self._lanes = {place: lane for place, lane in self._lanes.items() if lane in shown or lane.worker in alive}
        ordered = sorted(
            self._lanes.values(),
            key=lambda lane: (lane.worker not in alive, natural(alive.get(lane.worker, "")), lane.worker, lane.thread),
        )
        for position, lane in enumerate(ordered):
            if lane.position != position:
                lane.position = position
                self.generation += 1

    def since(self, sequence: int) -> list[Run]:
        """The rectangles added after the first ``sequence`` ones; all that are kept if some of those are gone."""
        added = self.sequence - sequence
        if added <= 0:
            return []
        return self._kept[-added:] if added < len(self._kept) else list(self._kept)

    def all(self) -> list[Run]:
        """Every rectangle that is kept."""
        return list(self._kept)

    def of_worker(self, worker: str, seconds: float, limit: int) -> list[Run]:
        """Copies of the rectangles of one worker that end in the last ``seconds`` of the picture, ``limit`` at most."""
        oldest = self.latest - seconds
        return squeeze([run.copy() for run in self._kept if run.lane.worker == worker and run.end >= oldest], limit)

    def lanes(self) -> list[Lane]:
        """The lanes from top to bottom."""
        return sorted(self._lanes.values(), key=lambda lane: lane.position)


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """Split a name so that numbers in it compare as numbers.

    Examples
    --------
    >>> sorted(["w-10", "w-2", "w"], key=natural)
    ['w', 'w-2', 'w-10']
    """
    parts: list[tuple[str, int]] = []
    text = number = ""
    for char in name:
        if char in "0123456789":
            number += char
            continue
        if number:
            parts.append((text, int(number[:18])))
            text = number = ""
        text += char
    return (*parts, (text, int(number[:18] or -1)))
