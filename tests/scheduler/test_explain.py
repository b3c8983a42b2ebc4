"""Why a task is where it is."""

from __future__ import annotations

from tests.support.scheduler import Cluster


def test_every_place_has_its_words() -> None:
    cluster = Cluster()
    cluster.submit({"a": (), "b": ("a",), "kept": ()}, wants=["b", "kept"])
    assert cluster.call("explain", "a") == (
        "'a' is ready to run, but no worker is connected. Start one with `myworker`."
    )
    assert cluster.call("explain", "b") == "'b' waits for 1 of its 1 inputs: 'a' (queued)."
    assert "does not know 'z'" in cluster.call("explain", "z")
    cluster.worker("w0")
    assert "was sent to worker w0 (tcp://w0) as attempt 1" in cluster.call("explain", "a")
    cluster.run_all()
    assert cluster.call("explain", "b") == "'b' is done: 8 bytes of int, held by worker w0."
    assert cluster.call("explain", "a") == "'a' is known, but nobody needs its result now."


def test_holders_are_named_up_to_ten() -> None:
    cluster = Cluster(workers=12)
    cluster.submit({"a": ()})
    cluster.run_all()
    ts, workers = cluster.core.tasks["a"], list(cluster.core.workers.values())
    for ws in workers:
        cluster.core.add_holder(ts, ws)
    assert cluster.call("explain", "a").endswith("held by workers w0, w1, w2, w3, w4, w5, w6, w7, w8, w9 and 2 more.")


def test_a_task_behind_others_says_how_many() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"slow": ()})
    cluster.core.prefixes["slow"].duration = 10.0
    cluster.submit({f"slow-{i}": () for i in range(5)})
    assert cluster.call("explain", "slow-4") == "'slow-4' is ready to run; 3 tasks are before it in the common queue."


def test_failures_name_the_culprit() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"a": (), "b": ("a",)})
    cluster.fail("w0", cluster.runs("w0"))
    assert cluster.call("explain", "a") == "'a' failed: ValueError: no"
    assert cluster.call("explain", "b") == "'b' cannot run because 'a', which it needs, failed: ValueError: no"
