"""Workers that come back: how the scheduler's tables are brought into line with what they hold."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.events import PeerLeft, Received
from myscheduler.scheduler.inventory import MESSAGES_PER_TURN
from myscheduler.scheduler.rejoin import GONE_MAX
from tests.support.scheduler import FUNCTION, Cluster, copy, run

SENT, RUNNING, SECEDED = m.STAGE_SENT, m.STAGE_RUNNING, m.STAGE_SECEDED


def retiring() -> Cluster:
    """Of w0, whose only copy w1 has been asked to take."""
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.worker("w1")
    cluster.say("c", (m.CALL, 50, "retire_workers", (("w0",),)))
    assert len(cluster.rows("w1", m.ACQUIRE)) == 1
    return cluster


class TestInventory:
    def test_it_may_come_in_slices_and_nothing_but_the_welcome_is_sent_before_its_end(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": (), "y": ()})
        cluster.run_all()
        copies = [copy(key, ts.attempt) for key, ts in cluster.core.tasks.items()]
        cluster.cut("w0")
        cluster.worker("w0", resume=(1, 0))
        cluster.submit({"z": ()})
        cluster.say("w0", (m.INVENTORY, tuple(copies[:1]), (), (), True))
        assert cluster.take("w0") == []
        cluster.say("w0", (m.INVENTORY, tuple(copies[1:]), (), (FUNCTION,), False))
        assert list(cluster.runs("w0")) == ["z"]
        assert [cluster.status(key) for key in "xy"] == ["memory", "memory"]

    def test_nobody_else_may_present_one(self) -> None:
        cluster = Cluster(workers=1)
        cluster.say("w0", (m.INVENTORY, (), (), (), False))
        assert cluster.disconnected["w0"] == "INVENTORY of a worker that was not away"

    def test_what_is_not_in_it_is_gone(self) -> None:
        cluster = Cluster(workers=1, nthreads=2, resources={"gpu": 2.0})
        cluster.submit({"x": ()})
        cluster.run_all()
        cluster.submit({"lost-run": (), "given-up": ()}, resources=(("gpu", 1.0),))
        cluster.runs("w0")
        cluster.say("c", (m.RELEASE, ("given-up",)))
        cluster.cut("w0")
        cluster.come_back("w0")
        assert set(cluster.runs("w0")) == {"x", "lost-run"}
        assert cluster.core.workers["w0"].abandoned == {}
        assert cluster.core.tasks["lost-run"].kills == 0

    def test_functions_are_sent_again_if_they_have_not_arrived_and_forgotten_if_nobody_calls_them(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        cluster.take("w0")
        cluster.cut("w0")
        cluster.come_back("w0", functions=(b"g" * 16,))
        [undefine, compute] = cluster.take("w0")
        assert undefine == (m.UNDEFINE, (b"g" * 16,))
        assert compute[1] == ((FUNCTION, b"code"),)

    def test_a_recall_that_may_be_lost_is_repeated(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"slow-1": (), "slow-2": ()})
        runs = cluster.runs("w0")
        cluster.say("c", (m.CALL, 50, "retire_workers", (("w0",),)))
        assert len(cluster.rows("w0", m.RECALL)) == 2
        cluster.cut("w0")
        cluster.come_back("w0", runs=[run("slow-1", runs["slow-1"]), run("slow-2", runs["slow-2"], SENT)])
        assert len(cluster.rows("w0", m.RECALL)) == 2

    def test_a_run_that_left_its_slot_unheard_has_left_it(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": (), "y": ()})
        runs = cluster.runs("w0")
        cluster.say("c", (m.RELEASE, ("y",)))
        cluster.cut("w0")
        cluster.come_back("w0", runs=[run(key, attempt, SECEDED) for key, attempt in runs.items()])
        ws = cluster.core.workers["w0"]
        assert (ws.sent, list(ws.long_running), list(ws.abandoned)) == (0, [cluster.core.tasks["x"]], [runs["y"]])

    def test_a_run_that_is_over_there_for_a_reason_that_was_lost_begins_again(self) -> None:
        cluster = Cluster(workers=1, nthreads=2)
        cluster.submit({"x": ()})
        runs = cluster.runs("w0")
        cluster.cut("w0")
        cluster.come_back("w0", runs=[run("x", runs["x"], given_up=True)])
        assert cluster.runs("w0")["x"] > runs["x"]
        assert list(cluster.core.workers["w0"].abandoned) == [runs["x"]]

    def test_copies_that_a_retiring_worker_asked_it_to_take_are_asked_for_again(self) -> None:
        cluster = retiring()
        cluster.cut("w1")
        cluster.come_back("w1")
        assert len(cluster.rows("w1", m.ACQUIRE)) == 1

    def test_so_are_those_of_which_it_had_another_copy(self) -> None:
        cluster = retiring()
        cluster.say("w1", (m.REPLICAS, (("x", 99),)))
        assert cluster.rows("w1", m.FREE) == [("x", 99)]
        assert len(cluster.rows("w1", m.ACQUIRE)) == 1

    def test_data_that_a_client_is_just_placing_stays(self) -> None:
        cluster = Cluster(workers=1)
        [(attempt, _)] = cluster.call("place", 1, None, False, ("data",))
        [(later, _)] = cluster.call("place", 1, None, False, ("more",))
        cluster.cut("w0")
        cluster.worker("w0", resume=(1, 0))
        cluster.say("c", (m.PLACED, 60, (("more", later, 8, "list", ("w0",)),)))
        cluster.say("w0", (m.INVENTORY, (copy("data", attempt, ""),), (), (), False))
        assert cluster.rows("w0", m.FREE) == []
        cluster.say("c", (m.PLACED, 61, (("data", attempt, 8, "list", ("w0",)),)))
        assert [cluster.status(key) for key in ("data", "more")] == ["memory", "memory"]


class TestResultsThatWereLostOnTheWay:
    def test_count(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": (), "y": ("x",)})
        runs = cluster.runs("w0")
        cluster.cut("w0")
        cluster.come_back("w0", [copy("x", runs["x"])])
        assert cluster.outcomes() == {"x": "memory"}
        assert list(cluster.runs("w0")) == ["y"]
        assert cluster.core.tasks["x"].type_name == "int"

    @pytest.mark.parametrize("state", ["queued", "waiting", "assigned", "retrying"])
    def test_count_wherever_the_task_is_by_now(self, state: str) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"a": (), "b": ("a",)}, retries=5, terms=(60.0, 1.0, None, None, None))
        cluster.finish("w0", cluster.runs("w0"))
        old = cluster.runs("w0")
        cluster.lose("w0")
        if state != "waiting":
            cluster.worker("w1")
            cluster.finish("w1", cluster.runs("w1"))
            new = cluster.runs("w1")
            assert list(new) == ["b"]
            if state == "retrying":
                cluster.fail("w1", new)
            elif state == "queued":
                cluster.step(Received("w1", ((m.RECALLED, (("b", new["b"]),)),)), PeerLeft("w1", "connection reset"))
        assert cluster.status("b") == state
        cluster.come_back("w0", [copy("b", old["b"])])
        assert cluster.status("b") == "memory"
        assert cluster.core.tasks["b"].attempt == old["b"]
        assert cluster.outcomes()["b"] == "memory"
        if state == "assigned":
            assert cluster.rows("w1", m.FREE) == [("b", new["b"])]

    def test_do_not_count_if_there_is_another_result_or_none_is_needed_or_the_task_is_another(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit(
            {"x": (), "gone": (), "again": (), "inner": (), "outer": ("inner",)}, wants=["x", "gone", "again", "outer"]
        )
        old: dict[Any, int] = {}
        while cluster.status("outer") != "memory":
            runs = cluster.runs("w0")
            old |= runs
            cluster.finish("w0", runs)
        cluster.lose("w0")
        cluster.worker("w1")
        cluster.run_all()
        cluster.say("c", (m.RELEASE, ("gone", "again")))
        cluster.submit({"again": ()})
        cluster.take("w1")
        assert cluster.status("again") == "assigned"
        cluster.take("w0")
        cluster.come_back("w0", [copy(key, attempt) for key, attempt in old.items()])
        assert sorted(cluster.rows("w0", m.FREE)) == sorted(old.items())
        assert cluster.status("again") == "assigned"

    def test_copies_of_the_current_result_are_copies(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        done = cluster.runs("w0")
        cluster.finish("w0", done)
        cluster.worker("w1")
        cluster.say("w1", (m.REPLICAS, (("x", done["x"]),)))
        cluster.lose("w1")
        cluster.come_back("w1", [copy("x", done["x"], "")])
        assert [ws.name for ws in cluster.core.tasks["x"].holders] == ["w0", "w1"]
        assert cluster.core.tasks["x"].type_name == "int"

    def test_scattered_data_is_back_with_its_worker(self) -> None:
        cluster = Cluster(workers=1)
        [(attempt, _)] = cluster.call("place", 1, None, False, ("data",))
        cluster.say("c", (m.PLACED, 60, (("data", attempt, 8, "list", ("w0",)),)))
        cluster.submit({"y": ("data",)})
        cluster.run_all()
        cluster.say("c", (m.RELEASE, ("data",)))
        cluster.lose("w0")
        assert cluster.status("data") == "erred"  # the task that needs it has to run again
        cluster.come_back("w0", [copy("data", attempt, "")])
        assert cluster.rows("w0", m.FREE) == [("data", attempt)]


class TestRunsThatWentOn:
    def test_have_a_head_start_on_those_started_in_their_place(self) -> None:
        cluster = Cluster(workers=1, resources={"gpu": 1.0})
        cluster.submit({"x": ()}, resources=(("gpu", 1.0),))
        old = cluster.runs("w0")
        cluster.lose("w0")
        cluster.worker("w1", resources={"gpu": 1.0})
        new = cluster.runs("w1")
        cluster.come_back("w0", runs=[run("x", old["x"])], resources={"gpu": 1.0})
        assert cluster.rows("w1", m.FREE) == [("x", new["x"])]
        cluster.finish("w0", old)
        assert cluster.outcomes() == {"x": "memory"}
        assert cluster.core.workers["w0"].free_resources == {"gpu": 1.0}

    def test_are_not_suspected_any_more(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        old = cluster.runs("w0")
        cluster.lose("w0")
        ts = cluster.core.tasks["x"]
        assert (ts.kills, ts.requirement.usual) == (1, cluster.core.common)
        cluster.come_back("w0", runs=[run("x", old["x"])])
        assert (ts.kills, ts.requirement, ts.attempt) == (0, cluster.core.common, old["x"])
        assert cluster.status("x") == "assigned"
        cluster.finish("w0", old)
        assert cluster.outcomes() == {"x": "memory"}

    @pytest.mark.parametrize("state", ["waiting", "retrying"])
    def test_are_believed_in_again_wherever_the_task_is_by_now(self, state: str) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"a": (), "b": ("a",)}, retries=5, terms=(60.0, 1.0, None, None, None))
        cluster.finish("w0", cluster.runs("w0"))
        old = cluster.runs("w0")
        cluster.lose("w0")
        if state == "retrying":
            cluster.worker("w1")
            cluster.finish("w1", cluster.runs("w1"))
            cluster.fail("w1", cluster.runs("w1"))
        assert cluster.status("b") == state
        cluster.come_back("w0", runs=[run("b", old["b"])])
        assert cluster.status("b") == "assigned"
        cluster.finish("w0", old)
        assert cluster.outcomes()["b"] == "memory"

    def test_the_run_that_began_first_is_not_given_up_for_another_that_comes_back(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        old = cluster.runs("w0")
        cluster.lose("w0")
        cluster.worker("w1")
        new = cluster.runs("w1")
        cluster.come_back("w0", runs=[run("x", old["x"])])
        cluster.cut("w1")
        cluster.come_back("w1", runs=[run("x", new["x"])])
        assert cluster.rows("w1", m.FREE) == [("x", new["x"])]
        assert cluster.core.workers["w1"].abandoned_slots == 1
        cluster.finish("w0", old)
        assert cluster.outcomes() == {"x": "memory"}

    def test_those_that_have_not_begun_or_that_nobody_wants_are_given_up_and_booked(self) -> None:
        cluster = Cluster(workers=1, nthreads=1, resources={"gpu": 2.0})
        cluster.submit({"slow-1": (), "slow-2": ()})
        runs = cluster.runs("w0")
        cluster.lose("w0")
        cluster.come_back(
            "w0",
            runs=[run("slow-2", runs["slow-2"], SENT), run("unknown", 8), run("other", 9, given_up=True)],
            resources={"gpu": 2.0},
        )
        ws = cluster.core.workers["w0"]
        assert cluster.rows("w0", m.FREE) == [("slow-2", runs["slow-2"]), ("unknown", 8)]
        assert ws.abandoned_slots == 3
        assert ws.free_resources == {"gpu": 0.0}  # nobody knows what they take
        assert cluster.runs("w0") == {}
        cluster.say("w0", (m.RECALLED, (("slow-2", runs["slow-2"]), ("unknown", 8), ("other", 9))))
        assert ws.free_resources == {"gpu": 2.0}
        assert set(cluster.runs("w0")) == {"slow-1", "slow-2"}

    def test_errors_that_were_kept_meanwhile_count(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        runs = cluster.runs("w0")
        cluster.cut("w0")
        cluster.come_back("w0", runs=[run("x", runs["x"])])
        cluster.fail("w0", runs)
        assert cluster.outcomes() == {"x": "failed"}

    def test_a_suspect_stays_alone(self) -> None:
        cluster = Cluster(workers=1, nthreads=2)
        cluster.submit({"bad": ()})
        cluster.lose("w0")
        cluster.worker("w1", 2)
        suspect = cluster.runs("w1")
        assert list(suspect) == ["bad"]
        cluster.cut("w1")
        cluster.come_back("w1", runs=[run("bad", suspect["bad"])], nthreads=2)
        cluster.submit({"z": ()})
        assert cluster.runs("w1") == {}
        cluster.finish("w1", suspect)
        assert list(cluster.runs("w1")) == ["z"]


class TestSlices:
    def test_are_settled_a_part_in_each_turn_and_others_go_on_between(self) -> None:
        cluster = Cluster(workers=1)
        keys = [f"x{i}" for i in range(4 * MESSAGES_PER_TURN)]
        cluster.submit(dict.fromkeys(keys, ()))
        done: dict[Any, int] = {}
        while len(done) < len(keys):
            runs = cluster.runs("w0")
            done |= runs
            cluster.finish("w0", runs)
        cluster.lose("w0")
        cluster.take("c")
        cluster.worker("w0", resume=(1, 0))
        slices = [(m.INVENTORY, (copy(key, done[key]),), (), (), True) for key in keys]
        cluster.say("w0", *slices, (m.INVENTORY, (), (), (FUNCTION,), False), (m.HEARTBEAT, {"executing": 3}))
        turns = 1
        while cluster.core.workers["w0"].absence is not None:
            assert cluster.machine.next_deadline() == cluster.now
            assert len(cluster.core.workers["w0"].stored) == turns * MESSAGES_PER_TURN
            cluster.submit({f"y{turns}": ()})
            assert cluster.status(f"y{turns}") == "queued"
            turns += 1
        assert turns == 5
        assert cluster.core.workers["w0"].metrics == {"executing": 3}
        assert {key: what for key, what in cluster.outcomes().items() if key in keys} == dict.fromkeys(keys, "memory")
        assert cluster.runs("w0")

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_what_is_released_between_them_is_freed_in_the_end_and_not_believed_in_again(self, when: str) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        done = cluster.runs("w0")
        cluster.finish("w0", done)
        cluster.cut("w0")
        cluster.worker("w0", resume=(1, 0))
        held = (m.INVENTORY, (copy("x", done["x"]),), (), (), True)
        if when == "after":
            cluster.say("w0", held)
        cluster.submit({"y": ("x",)})
        cluster.say("c", (m.RELEASE, ("x", "y")))
        assert cluster.status("x") == "unknown"
        cluster.submit({"x": ()})
        if when == "before":
            cluster.say("w0", held)
        assert cluster.take("w0") == []
        cluster.say("w0", (m.INVENTORY, (), (), (FUNCTION,), False))
        assert cluster.rows("w0", m.FREE) == [("x", done["x"])]
        assert list(cluster.runs("w0")) == ["x"]

    def test_what_was_said_before_the_link_broke_again_counts(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        runs = cluster.runs("w0")
        cluster.cut("w0")
        cluster.worker("w0", resume=(1, 0))
        rows = [(m.INVENTORY, (), (), (), True)] * 2 * MESSAGES_PER_TURN
        last = (m.INVENTORY, (), (run("x", runs["x"]),), (), False)
        cluster.say("w0", *rows, last, (m.GOODBYE, "done"))
        assert "w0" in cluster.core.workers
        cluster.step(PeerLeft("w0", "closed"))
        assert cluster.core.workers == {}
        assert cluster.core.tasks["x"].kills == 0  # it has gone as it was to

    def test_of_one_that_is_lost_half_way_are_known_when_it_is_back(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": (), "y": ()})
        done = {}
        while len(done) < 2:
            runs = cluster.runs("w0")
            done |= runs
            cluster.finish("w0", runs)
        cluster.lose("w0")
        cluster.worker("w0", resume=(1, 0))
        cluster.say("w0", (m.INVENTORY, (copy("x", done["x"]),), (), (), True))
        assert [cluster.status(key) for key in "xy"] == ["memory", "queued"]
        cluster.lose("w0")
        cluster.come_back("w0", [copy(key, attempt) for key, attempt in done.items()])
        assert [cluster.status(key) for key in "xy"] == ["memory", "memory"]


class TestClaims:
    def test_of_what_was_given_to_others_are_refused(self) -> None:
        cluster = Cluster(workers=2)
        cluster.submit({"slow-1": (), "slow-2": ()})
        mine, theirs = cluster.runs("w0"), cluster.runs("w1")
        [(key, attempt)] = theirs.items()
        cluster.cut("w0")
        cluster.come_back("w0", [copy(key, attempt)], [run(*next(iter(mine.items())))])
        assert cluster.rows("w0", m.FREE) == [(key, attempt)]
        assert cluster.core.tasks[key].worker is cluster.core.workers["w1"]
        cluster.finish("w1", theirs)
        assert cluster.outcomes() == {key: "memory"}

    def test_of_runs_that_others_were_given_are_refused(self) -> None:
        cluster = Cluster(workers=2)
        cluster.submit({"slow-1": (), "slow-2": ()})
        mine, theirs = cluster.runs("w0"), cluster.runs("w1")
        [(key, attempt)] = theirs.items()
        cluster.lose("w1")
        cluster.cut("w0")
        cluster.come_back("w0", runs=[run(key, attempt), *(run(*item) for item in mine.items())])
        assert cluster.status(key) == "queued"
        assert cluster.rows("w0", m.FREE) == [(key, attempt)]

    def test_are_remembered_for_the_last_that_were_given_up_only(self) -> None:
        cluster = Cluster()
        cluster.submit({"x": ()})
        cluster.worker("w0")
        done = cluster.runs("w0")
        cluster.finish("w0", done)
        cluster.lose("w0")
        for index in range(1, GONE_MAX + 1):
            cluster.worker(f"w{index}")
            cluster.take(f"w{index}")
            cluster.lose(f"w{index}")
        assert len(cluster.core.gone) == GONE_MAX
        cluster.come_back("w0", [copy("x", done["x"])])
        assert cluster.rows("w0", m.FREE) == [("x", done["x"])]
