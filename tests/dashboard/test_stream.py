"""The task stream: what is drawn, and that it stays little however much there is."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myscheduler.dashboard import stream as s
from myscheduler.dashboard.stream import Lane, Run, TaskStream, condense, natural, squeeze

T = 1_700_000_000.0


def rows(count: int, worker: str = "w", thread: int = 0, kind: str = "inc", each: float = 0.0008) -> list[Any]:
    return [(f"{kind}-{i}", worker, thread, T + i * 0.001, each, True) for i in range(count)]


def stream_of(*batches: list[Any]) -> TaskStream:
    stream = TaskStream()
    for batch in batches:
        stream.add(batch)
        stream.flush(T + 10)
    return stream


def test_one_block_per_task_while_there_are_few() -> None:
    stream = stream_of(rows(3))
    assert [(run.name, run.kind, run.start, run.count) for run in stream.all()] == [
        ("inc-0", "inc", T, 1),
        ("inc-1", "inc", T + 0.001, 1),
        ("inc-2", "inc", T + 0.002, 1),
    ]
    assert stream.latest == pytest.approx(T + 0.0028)


def test_short_runs_of_one_kind_merge_when_there_are_many() -> None:
    stream = stream_of(rows(10_000))
    assert len(stream.all()) <= s.RUNS_PER_UPDATE
    assert sum(run.count for run in stream.all()) == 10_000
    assert sum(run.busy for run in stream.all()) == pytest.approx(8.0)


def test_incoming_runs_are_merged_at_once_while_the_load_lasts() -> None:
    stream = stream_of(*(rows(5_000) for _ in range(3)))
    assert len(stream.since(stream.sequence - 1)) == 1
    assert len(stream_of(rows(5_000), *([] for _ in range(12)), rows(10)).since(0)) > 10, "and no longer afterwards"


def test_long_runs_do_not_merge_with_each_other_before_short_ones_do() -> None:
    lane = Lane("w", 0)
    long = [Run(lane, "fit", f"fit-{i}", T + i, T + i + 0.99, False) for i in range(5)]
    assert [run.count for run in condense(long, 0.05)] == [1] * 5


def test_a_failed_run_among_good_ones_keeps_its_own_block_at_fine_resolution() -> None:
    lane = Lane("w", 0)
    runs = [Run(lane, "inc", f"inc-{i}", T + i * 0.01, T + i * 0.01 + 0.009, i == 5) for i in range(10)]
    merged = condense(runs, 0.02)
    assert sum(run.failed for run in merged) == 1
    stream = TaskStream()
    stream.add([(f"inc-{i}", "w", 0, T + i, 0.5, i != 1) for i in range(3)])
    stream.flush(T)
    assert [run.failed for run in stream.all()] == [0, 1, 0]
    assert stream.failed == 1


def test_squeeze_reaches_its_limit_with_mixed_kinds() -> None:
    lanes = [Lane("w", t) for t in range(8)]
    kinds = ("a", "b", "c")
    runs = [
        Run(lane, kinds[i % 3], "x", T + i * 0.001, T + i * 0.001 + 0.0009, False)
        for i in range(3_000)
        for lane in lanes
    ]
    squeezed = squeeze(runs, 500)
    assert len(squeezed) <= 500
    assert sum(run.count for run in squeezed) == 24_000
    assert all(run.mixed for run in squeezed)


def test_history_is_kept_within_its_limit_by_merging_old_blocks() -> None:
    stream = TaskStream()
    generator = random.Random(1)
    for batch in range(40):
        stream.add(
            [
                (f"{generator.choice('abcdef')}-{i}", "w", lane, T + batch * 2 + i * 0.01, 0.0099, True)
                for i in range(150)
                for lane in range(8)
            ]
        )
        stream.flush(T + batch * 2)
    kept = stream.all()
    assert len(kept) <= s.RUNS_KEPT
    assert stream.generation > 0
    assert sum(run.count for run in kept) == 40 * 150 * 8, "nothing is dropped before it is old"
    assert kept[0].start == pytest.approx(T)


def test_since_hands_out_what_is_new() -> None:
    stream = stream_of(rows(3), rows(2))
    assert len(stream.since(0)) == 5
    assert [run.name for run in stream.since(3)] == ["inc-0", "inc-1"]
    assert stream.since(5) == []


def test_lanes_are_ordered_by_name_and_move_when_one_joins() -> None:
    stream = TaskStream()
    stream.rename({"b": "w-10", "a": "w-2"})
    stream.add([("x", "b", 0, T, 1.0, True)])
    stream.flush(T)
    before = stream.generation
    stream.add([("x", "a", 1, T, 1.0, True), ("x", "a", 0, T, 1.0, True)])
    stream.flush(T)
    assert [(lane.worker, lane.thread) for lane in stream.lanes()] == [("a", 0), ("a", 1), ("b", 0)]
    assert stream.generation > before


def test_lanes_of_workers_that_left_go_when_they_have_been_quiet() -> None:
    stream = TaskStream()
    stream.rename({"a": "a", "b": "b"})
    stream.add([("x", "a", 0, T, 1.0, True), ("x", "b", 0, T, 1.0, True)])
    stream.flush(T)
    stream.rename({"b": "b"})
    stream.add([("x", "b", 0, T + 10, 1.0, True)])
    stream.flush(T + 10)
    assert len(stream.lanes()) == 2, "its last blocks stay for a while"
    stream.add([("x", "b", 0, T + s.GONE_AGE_MAX_S + 100, 1.0, True)])
    stream.flush(T + s.GONE_AGE_MAX_S + 100)
    stream.rename({"b": "b2"})
    stream.flush(T + s.GONE_AGE_MAX_S + 100)
    assert [lane.worker for lane in stream.lanes()] == ["b"]


def test_too_many_lanes_are_counted_only() -> None:
    stream = stream_of([("x", f"w{i}", 0, T, 1.0, True) for i in range(s.LANES_MAX + 7)])
    assert (stream.hidden, stream.finished) == (7, s.LANES_MAX + 7)


@pytest.mark.parametrize("bad", [(float("nan"), 1.0), (T, float("nan")), (T, -1.0), (float("inf"), 1.0), (-5.0, 1.0)])
def test_times_that_make_no_sense_are_counted_only(bad: tuple[float, float]) -> None:
    stream = stream_of([("x", "w", 0, *bad, True), ("x", "w", 0, T, 1.0, True)])
    assert (len(stream.all()), stream.hidden) == (1, 1)


def test_a_clock_far_ahead_does_not_move_the_picture() -> None:
    stream = stream_of([("x", "w", 0, T, 1.0, True), ("x", "v", 0, T + 50_000, 1.0, True)])
    assert stream.latest == T + 1


def test_kinds_are_counted_with_their_time() -> None:
    stream = stream_of(rows(4_000), rows(2, kind="add", each=0.5))
    assert {kind: totals.runs for kind, totals in stream.kinds.items()} == {"inc": 4_000, "add": 2}
    assert stream.kinds["add"].busy == 1.0


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("inc-7", "inc"),
        ("read-csv-12", "read-csv"),
        (("read-0123456789ab", 3), "read"),
        ("x", "x"),
        (5, "int"),
        ("-5", ""),
    ],
)
def test_kind_of_a_key(key: Any, kind: str) -> None:
    stream = TaskStream()
    assert [stream.kind(key), stream.kind(key)] == [kind, kind]


def test_long_names_are_clipped() -> None:
    assert len(stream_of([("x" * 1000, "w", 0, T, 1.0, True)]).all()[0].name) == s.NAME_CHARS


def test_numbers_in_names_compare_as_numbers() -> None:
    names = ["w10", "w9", "w", "10", "9", "", "a-1-2", "a-1-10", "w09x"]
    assert sorted(names, key=natural) == ["", "9", "10", "a-1-2", "a-1-10", "w", "w9", "w09x", "w10"]


@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    keys = [natural(name) for name in sorted(names, key=natural)]
    assert all(before <= after for before, after in itertools.pairwise(keys))


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.floats(0, 10), st.floats(0, 2), st.booleans()),
        max_size=60,
    ),
    st.floats(0.001, 5),
)
def test_merging_loses_no_run(items: list[Any], resolution: float) -> None:
    lanes = [Lane("w", i) for i in range(3)]
    runs = [Run(lanes[i], kind, kind, T + at, T + at + took, failed) for kind, i, at, took, failed in items]
    runs.sort(key=lambda run: run.end)
    merged = condense(runs, resolution)
    assert sum(run.count for run in merged) == len(items)
    assert sum(run.failed for run in merged) == sum(item[4] for item in items)
