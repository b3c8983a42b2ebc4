"""The comparison of policies: that it runs, and what must hold of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.graphs import CHUNK, array_sum, matmul, mean_and_deviation, shuffle, skewed, stencil, tree
from benchmarks.placement import THREADS, WORKERS, against_best, compare, main
from benchmarks.policies import CLAIRVOYANT, OURS, POLICIES, Heft
from benchmarks.stage import Case, Outcome


@pytest.mark.parametrize(
    "case",
    [array_sum(20), mean_and_deviation(20), tree(20), matmul(3), shuffle(5), stencil(6, 3), skewed(40)],
    ids=["sum", "mean", "tree", "matmul", "shuffle", "stencil", "skewed"],
)
def test_every_policy_finishes_every_graph_no_faster_than_the_longest_way(case: Case) -> None:
    way: dict[object, float] = {}
    for key, node in case.nodes.items():
        way[key] = node.seconds + max((way[dep] for dep in node.deps), default=0.0)
    outcomes = compare([case], list(POLICIES))
    assert list(outcomes) == list(POLICIES)
    assert all(outcome.makespan >= max(way.values()) for outcome in outcomes.values())
    assert compare([case], [OURS]) == {OURS: outcomes[OURS]}


def test_what_is_held_of_a_map_that_is_reduced_does_not_grow_with_it() -> None:
    threads = WORKERS * THREADS
    held = [compare([array_sum(chunks)], [OURS])[OURS].total_bytes / CHUNK for chunks in (100, 400)]
    assert max(held) <= 3 * threads + 1
    assert held[1] <= held[0] + 1


def test_the_program_writes_what_it_found(tmp_path: Path) -> None:
    main(["--only", "shuffle", "--most", "100", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "placement.json").read_text(encoding="utf-8"))
    assert list(found["graphs"]["shuffle"]) == list(POLICIES)
    assert list(found["growing"]) == ["100"]
    picture = (tmp_path / "placement.svg").read_text(encoding="utf-8")
    assert all(f">{name}</text>" in picture for name in ["shuffle", *POLICIES])


@pytest.mark.parametrize("case", [shuffle(24), stencil(16, 8)], ids=["shuffle", "stencil"])
def test_no_more_is_moved_than_by_going_where_the_inputs_are(case: Case) -> None:
    outcomes = compare([case], [OURS, "locality"])
    assert outcomes[OURS].moved_bytes <= 1.2 * outcomes["locality"].moved_bytes
    assert outcomes[OURS].makespan <= 1.05 * outcomes["locality"].makespan


def test_of_several_graphs_the_mean_counts() -> None:
    cases = [tree(8), tree(16)]
    each = [compare([case], [OURS])[OURS] for case in cases]
    assert compare(cases, [OURS])[OURS].makespan == pytest.approx((each[0].makespan + each[1].makespan) / 2)


def test_what_is_used_together_is_made_together() -> None:
    outcomes = compare([tree(128)], [OURS, "locality"])
    assert outcomes[OURS].moved_bytes <= 0.4 * outcomes["locality"].moved_bytes
    assert outcomes[OURS].total_bytes <= 0.8 * outcomes["locality"].total_bytes
    assert outcomes[OURS].makespan <= 1.02 * outcomes["locality"].makespan


def test_threads_are_kept_busy_with_short_tasks_beside_long_ones() -> None:
    outcomes = compare([shuffle(40)], [OURS, "locality"])
    assert outcomes[OURS].makespan <= 1.04 * outcomes["locality"].makespan


def test_heft_knows_what_has_ended_and_the_clairvoyant_everything() -> None:
    case = skewed(40)
    heft, clairvoyant = POLICIES["HEFT"](), POLICIES[CLAIRVOYANT]()
    assert isinstance(heft, Heft)
    assert isinstance(clairvoyant, Heft)
    for policy in (heft, clairvoyant):
        policy.start(case, ["w0", "w1"], 1)
    first, second = ("work", 0), ("work", 1)
    assert clairvoyant.expected(second) == (case.nodes[second].seconds, case.nodes[second].nbytes)
    assert heft.expected(second) == heft.expected("data") == (0.005, 0.0)
    heft.choose("data")
    heft.ended("w0", "data", 8, 3.0)
    assert heft.expected("data") == (3.0, 8.0)
    assert heft.expected(second) == (0.005, 0.0)
    for seconds in (1.0, 2.0):
        heft.holders["data"] = ["w0"]
        name = heft.choose(first)
        heft.ended(name, first, 10, seconds)
    assert heft.expected(second) == (1.5, 10.0)


def test_the_best_is_found_with_and_without_foresight() -> None:
    outcomes = {OURS: Outcome(2.0, 0, 4, 0), "HEFT": Outcome(1.0, 0, 8, 0), CLAIRVOYANT: Outcome(0.5, 0, 2, 0)}
    assert [against_best(outcomes, field) for field in ("makespan", "total_bytes")] == [4.0, 2.0]
    assert [against_best(outcomes, field, CLAIRVOYANT) for field in ("makespan", "total_bytes")] == [2.0, 1.0]
