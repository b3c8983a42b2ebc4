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
    assert cluster.call("explain", "b") == "'b' is done: 8 bytes of int, held by w0."
    assert cluster.call("explain", "a") == "'a' is known, but nobody needs its result now."


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
