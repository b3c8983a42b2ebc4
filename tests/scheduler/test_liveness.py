"""Silent workers: no new work, their queue to others, given up; and never because of the scheduler's own absence."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from myscheduler.scheduler.events import Heard
from tests.support.scheduler import Cluster


def pass_time(cluster: Cluster, seconds: float, *speaking: str) -> None:
    """Let time pass in which only some workers are heard of."""
    for _ in range(round(seconds * 4)):
        cluster.now += 0.25
        cluster.step()
        for worker in speaking:
            cluster.say(worker, (m.HEARTBEAT, {}))


def standing(cluster: Cluster, worker: str) -> str:
    workers = {row["name"]: row["status"] for row in cluster.call("scheduler_info")["workers"]}
    return str(workers.get(worker, "gone"))


def test_a_silent_worker_gets_no_new_work_after_five_seconds() -> None:
    cluster = Cluster(workers=2)
    pass_time(cluster, 4.25, "w1")
    assert standing(cluster, "w0") == "running"
    pass_time(cluster, 0.75, "w1")
    assert [standing(cluster, name) for name in ("w0", "w1")] == ["unresponsive", "running"]
    cluster.submit({f"x-{i}": () for i in range(10)})
    assert cluster.runs("w0") == {}
    assert len(cluster.runs("w1")) == 2  # one to run, one ahead
    assert cluster.call("overview")["workers"][0]["status"] == "unresponsive"


def test_what_it_cannot_have_started_goes_to_others_and_what_it_runs_stays() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"slow-1": (), "slow-2": ()})
    old = cluster.runs("w0")
    assert list(old) == ["slow-1", "slow-2"]
    cluster.worker("w1")
    cluster.rows("w0", m.RECALL)
    pass_time(cluster, 5, "w1")
    assert list(cluster.runs("w1")) == ["slow-2"]
    assert cluster.rows("w0", m.FREE) == [("slow-2", old["slow-2"])]
    text = cluster.call("explain", "slow-1")
    assert text == (
        "'slow-1' was sent to worker w0 (tcp://w0) as attempt 1. Nothing has been heard from that worker for 5 s. "
        "If it stays silent, it is given up in 6 s, and the task goes elsewhere."
    )


def test_who_speaks_again_in_time_is_used_again_and_only_current_attempts_count() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"slow-1": (), "slow-2": ()})
    old = cluster.runs("w0")
    cluster.worker("w1")
    pass_time(cluster, 11, "w1")
    new = cluster.runs("w1")
    cluster.finish("w0", old)
    assert standing(cluster, "w0") == "running"
    assert cluster.outcomes() == {"slow-1": "memory"}
    assert cluster.core.stale["answers"] == 1
    assert ("slow-2", old["slow-2"]) in cluster.rows("w0", m.FREE)
    cluster.finish("w1", new)
    assert cluster.outcomes() == {"slow-2": "memory"}
    pass_time(cluster, 5, "w0")
    cluster.submit({"z": ()})
    assert list(cluster.runs("w0")) == ["z"]


def test_bytes_that_are_no_message_yet_count_as_a_sign_of_life() -> None:
    cluster = Cluster(workers=1)
    for _ in range(20):
        pass_time(cluster, 1)
        cluster.step(Heard(("w0", "stranger")))
    assert standing(cluster, "w0") == "running"
    pass_time(cluster, 6)
    assert standing(cluster, "w0") == "unresponsive"
    cluster.step(Heard(("w0",)))
    assert standing(cluster, "w0") == "running"


def test_after_twelve_seconds_it_is_given_up_and_only_what_may_have_run_is_suspected() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"slow-1": (), "slow-2": ()})
    cluster.runs("w0")
    pass_time(cluster, 11.25)
    assert cluster.disconnected == {}
    pass_time(cluster, 0.75)
    assert cluster.disconnected["w0"] == "nothing heard from worker w0 for 12 s"
    assert standing(cluster, "w0") == "gone"
    assert [cluster.core.tasks[key].kills for key in ("slow-1", "slow-2")] == [1, 0]
    cluster.worker("w1")
    cluster.run_all()
    assert cluster.outcomes() == {"slow-1": "memory", "slow-2": "memory"}


def test_a_task_waits_for_a_silent_worker_that_alone_holds_its_input() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.worker("w1")
    pass_time(cluster, 5, "w1")
    cluster.submit({"y": ("x",)})
    assert cluster.runs("w1") == {}
    assert "in the queue of worker w0. Nothing has been heard from that worker for 5 s." in cluster.call("explain", "y")
    cluster.say("w0", (m.HEARTBEAT, {}))
    assert list(cluster.runs("w0")) == ["y"]


def test_the_input_is_made_again_when_it_is_given_up() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.worker("w1")
    cluster.submit({"y": ("x",)}, workers=("w1",))
    fetching = cluster.runs("w1")
    assert list(fetching) == ["y"]
    pass_time(cluster, 12, "w1")
    assert cluster.rows("w1", m.FREE) == [("y", fetching["y"])]
    cluster.say("w1", (m.RECALLED, (("y", fetching["y"]),)))
    cluster.run_all()
    assert cluster.outcomes() == {"x": "memory", "y": "memory"}


def test_when_no_worker_answers_explain_says_so() -> None:
    cluster = Cluster(workers=1)
    pass_time(cluster, 5)
    cluster.submit({"x": ()})
    assert cluster.call("explain", "x").endswith("No worker that may run it answers at the moment.")


def test_the_schedulers_own_stall_is_held_against_nobody() -> None:
    cluster = Cluster(workers=3)
    cluster.submit({"x": ()})
    pass_time(cluster, 3, "w0", "w1", "w2")
    for _ in range(5):
        cluster.now += 60.0  # stopped, suspended, or busy: nothing could be read
        cluster.step()
    assert [standing(cluster, name) for name in ("w0", "w1", "w2")] == ["running"] * 3
    pass_time(cluster, 20, "w0", "w1")
    assert [standing(cluster, name) for name in ("w0", "w1", "w2")] == ["running", "running", "gone"]


def test_data_is_not_placed_with_a_silent_worker() -> None:
    cluster = Cluster(workers=2)
    pass_time(cluster, 5, "w1")
    rows = cluster.call("place", 4, None, False, None)
    assert {workers[0][0] for _, workers in rows} == {"w1"}
