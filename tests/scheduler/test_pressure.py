"""Workers that are short of memory: who gets their work, and how the last of them go on."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from tests.support.scheduler import Cluster


def say(cluster: Cluster, worker: str, paused: bool) -> None:
    cluster.say(worker, (m.HEARTBEAT, {"paused": paused}))


def flags(cluster: Cluster, worker: str) -> dict[str, int]:
    """What was sent to a worker, with the flags; stays to be read."""
    return {row[0]: row[7] for message in cluster.sent.get(worker, []) if message[0] == m.COMPUTE for row in message[2]}


def give_back(cluster: Cluster, worker: str, runs: dict[str, int], *kept: str) -> None:
    rows = tuple((key, attempt) for key, attempt in runs.items() if key not in kept)
    cluster.say(worker, (m.RECALLED, rows))


def test_a_paused_worker_gets_nothing_and_others_get_what_it_gives_back() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({f"x-{number}": () for number in range(4)})
    runs = cluster.runs("w0")
    assert len(runs) == 2
    cluster.worker("w1")
    say(cluster, "w0", paused=True)
    assert cluster.core.workers["w0"].standing == "paused"
    give_back(cluster, "w0", runs, "x-0")
    others: dict[str, int] = {}
    while new := cluster.runs("w1"):
        others |= new
        cluster.finish("w1", new)
    assert sorted(others) == ["x-1", "x-2", "x-3"]
    assert cluster.runs("w0") == {}
    cluster.finish("w0", {"x-0": runs["x-0"]})
    assert set(cluster.outcomes().values()) == {"memory"}


def test_what_waited_for_it_goes_where_its_data_can_be_fetched() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.submit({"busy": (), "ahead": ()})
    cluster.submit({"y": ("x",)})
    assert cluster.status("y") == "queued"
    cluster.worker("w1")
    cluster.submit({"other": ()}, workers=("w1",))
    cluster.run_all()
    say(cluster, "w0", paused=True)
    cluster.submit({"z": ("x",)})
    assert list(cluster.runs("w1")) == ["z"]


def test_it_is_used_again_when_it_has_room() -> None:
    cluster = Cluster(workers=2)
    say(cluster, "w0", paused=True)
    cluster.submit({"a": (), "b": (), "c": (), "d": ()})
    assert (len(cluster.runs("w1")), len(cluster.runs("w0"))) == (2, 0)
    say(cluster, "w0", paused=False)
    assert cluster.core.workers["w0"].standing == "running"
    assert len(cluster.runs("w0")) == 2
    assert flags(cluster, "w0") == {}


def test_when_all_are_paused_each_goes_on_with_one_task_at_a_time_and_that_is_said_once() -> None:
    cluster = Cluster(workers=2, nthreads=4)
    say(cluster, "w0", paused=True)
    assert cluster.warnings == []
    say(cluster, "w1", paused=True)
    [warning] = cluster.warnings
    assert warning.startswith(
        "all 2 workers are paused, short of memory: tasks run one at a time for each of them until "
    )
    cluster.submit({f"x-{number}": () for number in range(6)})
    assert set(flags(cluster, "w0").values()) == {m.FLAG_WANTED | m.FLAG_ANYWAY}
    runs = cluster.runs("w1")
    assert (len(cluster.runs("w0")), len(runs)) == (1, 1)
    cluster.finish("w1", runs)
    assert (len(cluster.runs("w0")), len(cluster.runs("w1"))) == (0, 1)
    text = cluster.call("explain", "x-5")
    assert text.endswith(
        "All workers that may run it are paused, because they are short of memory; each runs one task at a time."
    )
    assert len(cluster.warnings) == 1
    say(cluster, "w0", paused=False)
    assert len(cluster.runs("w0")) == 3
    say(cluster, "w0", paused=True)
    assert len(cluster.warnings) == 2


def test_the_only_worker_finishes_a_whole_graph_though_it_is_paused() -> None:
    cluster = Cluster(workers=1)
    say(cluster, "w0", paused=True)
    assert cluster.warnings[0].startswith("the only worker is paused")
    cluster.submit({"x": (), "y": ("x",), "z": ("x", "y")})
    for _ in range(3):
        runs = cluster.runs("w0")
        assert len(runs) == 1
        cluster.finish("w0", runs)
    assert cluster.outcomes() == {"x": "memory", "y": "memory", "z": "memory"}


def test_of_paused_workers_the_one_that_holds_the_inputs_is_chosen() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": ()}, workers=("w1",))
    cluster.run_all()
    for worker in ("w0", "w1"):
        say(cluster, worker, paused=True)
    cluster.submit({"y": ("x",)})
    assert (list(cluster.runs("w0")), list(cluster.runs("w1"))) == ([], ["y"])


def test_a_requirement_that_only_a_paused_worker_meets_is_met_by_it() -> None:
    cluster = Cluster(workers=2, resources={"gpu": 1})
    say(cluster, "w0", paused=True)
    cluster.submit({"x": ()}, workers=("w0",))
    cluster.submit({"y": ()}, workers=("w0",), resources=(("gpu", 1.0),))
    assert list(cluster.runs("w1")) == []
    runs = cluster.runs("w0")
    assert list(runs) == ["x"]
    cluster.finish("w0", runs)
    assert list(cluster.runs("w0")) == ["y"]
    assert cluster.warnings == []


def test_a_suspect_gets_a_paused_worker_to_itself_if_there_is_no_other() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"bad": (), "good": ()})
    cluster.lose("w0")
    cluster.worker("w1", nthreads=4)
    cluster.run_all()
    cluster.submit({"bad-2": ()})
    cluster.lose("w1")
    cluster.worker("w2", nthreads=4)
    runs = cluster.runs("w2")
    give_back(cluster, "w2", runs)
    say(cluster, "w2", paused=True)
    give_back(cluster, "w2", cluster.runs("w2"))
    assert len(cluster.runs("w2")) == 1
    assert cluster.core.workers["w2"].reserved


def test_data_goes_to_workers_with_room_if_there_are_any() -> None:
    cluster = Cluster(workers=2)
    say(cluster, "w0", paused=True)
    assert {workers[0][0] for _, workers in cluster.call("place", 4, None, False, None)} == {"w1"}
    say(cluster, "w1", paused=True)
    assert {workers[0][0] for _, workers in cluster.call("place", 4, None, False, None)} == {"w0", "w1"}


def test_a_retiring_worker_hands_over_to_a_paused_one_rather_than_to_nobody() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.worker("w1")
    say(cluster, "w1", paused=True)
    cluster.request += 1
    cluster.say("c", (m.CALL, cluster.request, "retire_workers", (("w0",),)))
    assert [row[0] for row in cluster.rows("w1", m.ACQUIRE)] == ["x"]


def test_who_leaves_is_not_paused_any_more() -> None:
    cluster = Cluster(workers=1)
    say(cluster, "w0", paused=True)
    cluster.lose("w0")
    cluster.worker("w1")
    cluster.submit({"x": ()})
    assert list(cluster.runs("w1")) == ["x"]
    say(cluster, "w1", paused=True)
    assert len(cluster.warnings) == 2


def test_what_is_no_truth_value_pauses_nobody() -> None:
    cluster = Cluster(workers=1)
    cluster.say("w0", (m.HEARTBEAT, {"paused": 1}))
    assert cluster.core.workers["w0"].standing == "running"
