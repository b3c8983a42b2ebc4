"""Silent workers for whom their keepers vouch: they are waited for, and what they hold is made again where it is needed."""

from __future__ import annotations

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.vouching import VOUCHED_MAX_S
from tests.support.scheduler import Cluster


def pass_time(cluster: Cluster, seconds: float, *vouched: str, busy: float = 0.0) -> None:
    """Let time pass in which only w1 is heard of, and keepers vouch for others."""
    for tick in range(round(seconds * 4)):
        cluster.now += 0.25
        cluster.step()
        if "w1" in cluster.core.workers:
            cluster.say("w1", (m.HEARTBEAT, {}))
        if tick % 12 == 0:
            for name in vouched:
                assert cluster.call("vouch", name, 1, busy) is None


def test_a_worker_that_is_vouched_for_is_not_given_up_and_its_result_counts() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    runs = cluster.runs("w0")
    pass_time(cluster, 60, "w0")
    assert cluster.disconnected == {}
    assert cluster.core.workers["w0"].standing == "unresponsive"
    cluster.finish("w0", runs)
    assert cluster.outcomes() == {"x": "memory"}
    assert cluster.core.workers["w0"].standing == "running"


def test_without_words_it_is_given_up_soon() -> None:
    cluster = Cluster(workers=1)
    pass_time(cluster, 20, "w0")
    pass_time(cluster, 7)
    assert "w0" in cluster.disconnected
    cluster.worker("w0")
    pass_time(cluster, 6, "w0")
    cluster.say("w0", (m.HEARTBEAT, {}))
    pass_time(cluster, 11)
    assert "w0" in cluster.core.workers
    pass_time(cluster, 1)  # words of the silence before do not count in this one
    assert "w0" not in cluster.core.workers


def test_words_for_another_process_of_that_name_are_for_nobody() -> None:
    cluster = Cluster(workers=1)
    for _ in range(4):
        pass_time(cluster, 3)
        assert cluster.call("vouch", "w0", 2, 0.0) is None
        assert cluster.call("vouch", "w7", 1, 0.0) is None
    assert "w0" in cluster.disconnected


def test_after_five_minutes_no_word_helps() -> None:
    cluster = Cluster(workers=1)
    pass_time(cluster, VOUCHED_MAX_S - 1, "w0")
    assert cluster.disconnected == {}
    pass_time(cluster, 2, "w0")
    assert cluster.disconnected == {"w0": "nothing heard from worker w0 for 300 s, although its process lives"}


@pytest.mark.parametrize(("busy", "what"), [(0.98, "computes"), (0.0, "sleeps or waits")])
def test_explain_says_what_the_keeper_sees(busy: float, what: str) -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    pass_time(cluster, 20, "w0", busy=busy)
    assert cluster.call("explain", "x").endswith(
        f"Nothing has been heard from that worker for 20 s. Its keeper sees that its process lives and {what}: a task holds "
        "the interpreter lock, or blocks its event loop. If it stays silent, it is given up in 280 s, and the task goes "
        "elsewhere."
    )


def test_what_it_alone_holds_is_made_again_when_others_wait_for_it() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": (), "kept": ()})
    cluster.run_all()
    cluster.submit({"busy": ()})
    busy = cluster.runs("w0")
    old = cluster.core.tasks["x"].attempt
    cluster.worker("w1")
    cluster.submit({"y": ("x",), "z": ("x", "kept")})
    cluster.submit({"w": ("x",)}, workers=("w1",))
    fetching = cluster.runs("w1")
    assert "w" in fetching
    cluster.outcomes()
    pass_time(cluster, 12, "w0")
    cluster.say("w1", (m.RECALLED, tuple(fetching.items())))
    assert ("x", old) in cluster.rows("w0", m.FREE)
    for _ in range(3):
        cluster.finish("w1", cluster.runs("w1"))
    assert cluster.outcomes().keys() == {"x", "kept", "y", "z", "w"}
    assert {ts.name for ts in cluster.core.tasks["x"].holders} == {"w1"}
    cluster.finish("w0", busy)
    assert cluster.outcomes() == {"busy": "memory"}


def test_what_takes_long_to_make_and_what_cannot_be_made_is_waited_for() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.finish("w0", cluster.runs("w0"), seconds=30.0)
    [[attempt, _]] = cluster.call("place", 1, None, False, ["scattered"])
    cluster.say("c", (m.PLACED, 50, (("scattered", attempt, 8, "int", ("w0",)),)))
    cluster.worker("w1")
    cluster.submit({"y": ("x",), "z": ("scattered",)}, workers=("w1",))
    runs = cluster.runs("w1")
    pass_time(cluster, 29, "w0")
    assert cluster.rows("w1", m.FREE) == []
    pass_time(cluster, 3, "w0")
    assert cluster.rows("w1", m.FREE) == [("y", runs["y"])]
    assert cluster.status("z") == "assigned"
    assert list(cluster.runs("w1")) == []  # its only thread is booked until it has answered
    cluster.say("w1", (m.RECALLED, (("y", runs["y"]),)))
    assert list(cluster.runs("w1")) == ["x"]


def test_what_only_its_own_runs_need_is_left_there() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.submit({"y": ("x",)})
    runs = cluster.runs("w0")
    cluster.worker("w1")
    pass_time(cluster, 60, "w0")
    assert cluster.rows("w0", m.FREE) == []
    cluster.finish("w0", runs)
    assert cluster.status("y") == "memory"


@pytest.mark.parametrize("arguments", [("w0", "1", 0.0), (0, 1, 0.0), ("w0", 1, "0"), ("w0",)])
def test_nonsense_is_refused(arguments: tuple[object, ...]) -> None:
    cluster = Cluster(workers=1)
    cluster.say("c", (m.CALL, 90, "vouch", arguments))
    assert cluster.disconnected["c"].startswith("vouch: bad arguments")
