"""Suspects run alone."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from myscheduler.scheduler.deaths import KILLS_MAX, VERDICT_S
from tests.support.scheduler import Cluster


def test_an_innocent_neighbour_is_never_blamed() -> None:
    cluster = Cluster()
    cluster.submit({"bad": (), "good": ()})
    for index in range(KILLS_MAX):
        cluster.worker(f"w{index}", nthreads=2)
        runs = cluster.runs(f"w{index}")
        if index:
            assert len(runs) == 1
        if "bad" not in runs:
            cluster.finish(f"w{index}", runs)
            runs = cluster.runs(f"w{index}")
        assert "bad" in runs
        cluster.lose(f"w{index}")
    cluster.now = VERDICT_S
    cluster.step()
    assert [row[0] for row in cluster.rows("c", m.FAILED)] == ["bad"]
    cluster.worker("w-last")
    cluster.run_all()
    assert cluster.status("good") == "memory"


def test_suspects_have_all_workers_if_nobody_else_waits() -> None:
    cluster = Cluster(workers=1, nthreads=3)
    cluster.submit({"x-1": (), "x-2": (), "x-3": ()})
    cluster.lose("w0")
    for name in ("w1", "w2", "w3"):
        cluster.worker(name, nthreads=3)
    assert [len(cluster.runs(name)) for name in ("w1", "w2", "w3")] == [1, 1, 1]


def test_others_keep_half_of_the_workers() -> None:
    cluster = Cluster(workers=1, nthreads=4)
    cluster.submit({f"x-{index}": () for index in range(4)})
    cluster.lose("w0")
    cluster.submit({f"y-{index}": () for index in range(40)})
    cluster.step()
    for name in ("w1", "w2", "w3", "w4"):
        cluster.worker(name)
    running = {name: list(cluster.runs(name)) for name in ("w1", "w2", "w3", "w4")}
    assert sum(any(key[0] == "x" for key in keys) for keys in running.values()) == 2
    assert all(len({key[0] for key in keys}) == 1 for keys in running.values())


def test_a_busy_worker_is_emptied_for_a_suspect_and_used_again_afterwards() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"bad": ()})
    cluster.lose("w0")
    cluster.core.tasks["bad"].rank += 2**40  # behind all others
    cluster.worker("w1", nthreads=2)
    suspect = cluster.runs("w1")
    assert list(suspect) == ["bad"]
    cluster.submit({f"y-{index}": () for index in range(6)})
    assert cluster.runs("w1") == {}
    cluster.finish("w1", suspect)
    assert {key[0] for key in cluster.runs("w1")} == {"y"}


def test_what_runs_is_waited_for_and_what_does_not_is_asked_back() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"bad": ()})
    [owner] = [name for name in ("w0", "w1") if cluster.runs(name)]
    other = "w1" if owner == "w0" else "w0"
    cluster.submit({f"y-{index}": () for index in range(4)})
    before = cluster.runs(other)
    (first, second) = before
    cluster.lose(owner)
    assert cluster.runs(other) == {}
    assert cluster.rows(other, m.RECALL) == [(second, before[second])]
    cluster.say(other, (m.RECALLED, ((second, before[second]),)))
    assert cluster.runs(other) == {}
    cluster.finish(other, {first: before[first]})
    assert list(cluster.runs(other)) == ["bad"]


def test_a_reserved_worker_is_given_back_when_the_suspect_is_not_wanted_any_more() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"y": ()})
    [owner] = [name for name in ("w0", "w1") if cluster.runs(name)]
    other = "w1" if owner == "w0" else "w0"
    cluster.submit({"z": ()})
    assert list(cluster.runs(other)) == ["z"]
    cluster.lose(owner)  # y is a suspect now, and the only worker is busy
    assert cluster.core.workers[other].reserved
    cluster.say("c", (m.RELEASE, ("y",)))
    assert not cluster.core.workers[other].reserved
    cluster.submit({"x": ()})
    assert list(cluster.runs(other)) == ["x"]


def test_restrictions_and_resources_hold_for_suspects_as_well() -> None:
    cluster = Cluster()
    cluster.submit({"x": ()}, resources=(("GPU", 1.0),))
    cluster.worker("w0", resources={"GPU": 1.0})
    assert list(cluster.runs("w0")) == ["x"]
    cluster.lose("w0")
    cluster.worker("w1")
    assert cluster.runs("w1") == {}
    assert "GPU=1" in cluster.call("explain", "x")
    cluster.worker("w2", resources={"GPU": 1.0})
    assert list(cluster.runs("w2")) == ["x"]


def test_a_suspect_that_leaves_its_slot_lets_others_in() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"parent": ()})
    cluster.lose("w0")
    cluster.worker("w1")
    runs = cluster.runs("w1")
    cluster.submit({"child": ()})
    assert cluster.runs("w1") == {}
    cluster.say("w1", (m.SECEDED, (("parent", runs["parent"]),)))
    assert list(cluster.runs("w1")) == ["child"]


def test_explained() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": ()})
    [owner] = [name for name in ("w0", "w1") if cluster.runs(name)]
    cluster.submit({"y": ()})
    cluster.lose(owner)
    assert cluster.call("explain", "x") == (
        "'x' is ready to run; 0 tasks are before it among those that get a worker to themselves, because a worker died "
        "while they may have been running."
    )
