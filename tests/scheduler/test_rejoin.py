"""Workers whose links break: what stays theirs for a moment, and how tables and inventory are brought into line later."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.deaths import PLANNED, VERDICT_S
from myscheduler.scheduler.events import PeerJoined, PeerLeft, Received
from myscheduler.scheduler.rejoin import AWAY_S
from tests.support.scheduler import FUNCTION, VERSIONS, Cluster

SENT, RUNNING, SECEDED = m.STAGE_SENT, m.STAGE_RUNNING, m.STAGE_SECEDED


def copy(key: Any, attempt: int, type_name: str = "int") -> tuple[Any, ...]:
    return (key, attempt, 8, type_name)


def run(key: Any, attempt: int, stage: int = RUNNING, given_up: bool = False) -> tuple[Any, ...]:
    return (key, attempt, stage, given_up)


def refusal(cluster: Cluster, worker: str) -> str:
    [message] = [x for x in cluster.take(worker) if x[0] == m.REFUSED]
    return str(message[1])


class TestAway:
    def test_a_worker_that_comes_back_at_once_keeps_its_data_and_its_runs(self) -> None:
        cluster = Cluster(workers=2)
        cluster.submit({"x": ()})
        [(owner, done)] = [(name, runs) for name in ("w0", "w1") if (runs := cluster.runs(name))]
        cluster.finish(owner, done)
        cluster.submit({"y": ("x",)})
        running = cluster.runs(owner)
        cluster.cut(owner)
        assert [cluster.status(key) for key in "xy"] == ["memory", "assigned"]
        cluster.come_back(owner, [copy("x", done["x"])], [run("y", running["y"])])
        assert cluster.take(owner) == []
        cluster.finish(owner, running)
        assert cluster.outcomes() == {"x": "memory", "y": "memory"}
        assert cluster.core.tasks["y"].attempt == running["y"]

    def test_it_gets_no_work_meanwhile_and_its_queue_is_given_to_others(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        cluster.run_all()
        cluster.submit({f"slow-{i}": ("x",) for i in range(9)})
        assert cluster.core.workers["w0"].local.length
        cluster.cut("w0")
        assert cluster.core.workers["w0"].local.length  # nobody else can have their input
        cluster.submit({"z": ()})
        assert cluster.take("w0") == []
        cluster.worker("w1")
        assert list(cluster.runs("w1")) == ["z"]
        assert cluster.call("overview")["workers"][0]["status"] == "unresponsive"

    def test_it_is_lost_when_its_time_is_over_or_another_of_its_name_comes(self) -> None:
        cluster = Cluster(workers=2)
        cluster.submit({"slow-1": (), "slow-2": ()})
        cluster.cut("w0")
        cluster.cut("w1")
        assert cluster.machine.next_deadline() == pytest.approx(0.25)
        cluster.worker("w2", name="w1")
        assert list(cluster.core.workers) == ["w0", "w2"]
        for moment in (0.5, AWAY_S - 0.01, AWAY_S):
            assert "w0" in cluster.core.workers
            cluster.now = moment
            cluster.step()
        assert list(cluster.core.workers) == ["w2"]
        assert [cluster.core.tasks[key].kills for key in ("slow-1", "slow-2")] == [1, 1]

    def test_whoever_keeps_it_may_tell_of_its_death_before_or_after(self) -> None:
        cluster = Cluster(workers=3)
        cluster.submit({f"slow-{i}": () for i in range(3)})
        cluster.cut("w0")
        cluster.call("worker_died", "w0", 1, "crash", "it crashed", ())
        assert list(cluster.core.workers) == ["w1", "w2"]
        cluster.call("worker_died", "w1", 1, "crash", "it crashed", ())
        cluster.cut("w1")
        assert list(cluster.core.workers) == ["w2"]
        cluster.cut("w2")
        cluster.call("worker_died", "w2", 1, PLANNED, "it was killed at the end", ())
        assert sorted(ts.kills for ts in cluster.core.tasks.values()) == [0, 1, 1]
        assert cluster.core.deaths.early == {}

    def test_explain_says_that_the_connection_is_broken(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        cluster.cut("w0")
        assert cluster.call("explain", "x").endswith(
            "The connection of that worker is broken. Unless it comes back within a second, the task goes elsewhere."
        )

    def test_values_that_only_it_has_are_sent_through_the_scheduler_when_it_is_back(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        done = cluster.runs("w0")
        cluster.finish("w0", done)
        cluster.say("c", (m.FETCH, 7, ("x",)))
        [(_, first, _)] = cluster.take("w0")
        cluster.cut("w0")
        cluster.come_back("w0", [copy("x", done["x"])])
        [(op, number, rows)] = cluster.take("w0")
        assert (op, rows) == (m.GATHER, (("x", done["x"]),))
        assert number > first
        cluster.say("w0", (m.DATA, number, (("x", b"1"),), ()))
        assert (m.DATA, 7, (("x", b"1"),), ()) in cluster.take("c")

    def test_if_it_does_not_come_back_they_are_made_again_or_asked_of_others(self) -> None:
        cluster = Cluster(workers=2)
        cluster.submit({"x": (), "y": ()})
        runs = {name: cluster.runs(name) for name in ("w0", "w1")}
        for name, done in runs.items():
            cluster.finish(name, done)
        cluster.lose("w0")
        again = cluster.runs("w1")
        cluster.say("c", (m.FETCH, 7, ("x", "y")))
        cluster.take("w1")
        cluster.cut("w1")
        cluster.worker("w2")
        [kept] = [(key, attempt) for key, attempt in runs["w1"].items()]
        cluster.step()
        cluster.say("w2", (m.REPLICAS, (kept,)))
        cluster.lose("w1")
        gathered = [row for x in cluster.take("w2") if x[0] == m.GATHER for row in x[2]]
        assert gathered == [kept]
        assert again

    def test_garbage_in_the_turn_in_which_it_comes_back_does_not_close_the_new_link(self) -> None:
        cluster = Cluster(workers=1)
        hello = {**cluster.core.workers["w0"].info, "resume": (1, 0)}
        cluster.step(
            Received("w0", ((m.INVENTORY, (), (), (), False),)),
            PeerLeft("w0", "replaced"),
            PeerJoined("w0", m.Role.WORKER, hello),
        )
        assert cluster.disconnected == {}
        assert cluster.core.workers["w0"].absence is not None


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
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        cluster.run_all()
        cluster.worker("w1")
        cluster.say("c", (m.CALL, 50, "retire_workers", (("w0",),)))
        assert len(cluster.rows("w1", m.ACQUIRE)) == 1
        cluster.cut("w1")
        cluster.come_back("w1")
        assert len(cluster.rows("w1", m.ACQUIRE)) == 1

    def test_so_are_those_of_which_it_had_another_copy(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"x": ()})
        cluster.run_all()
        cluster.worker("w1")
        cluster.say("c", (m.CALL, 50, "retire_workers", (("w0",),)))
        assert len(cluster.rows("w1", m.ACQUIRE)) == 1
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


class TestRefusals:
    def test_a_scheduler_that_was_started_anew_knows_nothing_of_it(self) -> None:
        cluster = Cluster()
        cluster.worker("w0", resume=(99, 0))
        assert refusal(cluster, "w0") == "session"
        assert cluster.core.workers == {}

    @pytest.mark.parametrize(
        ("method", "args", "code"), [("restart", (), "restart"), ("retire_workers", (("w0",),), "closing")]
    )
    def test_who_was_told_to_leave_and_has_not_heard_it_is_told_again(self, method: str, args: Any, code: str) -> None:
        cluster = Cluster(workers=1)
        cluster.say("c", (m.CALL, 50, method, args))
        assert m.STOP in [x[0] for x in cluster.take("w0")]
        cluster.cut("w0")
        assert cluster.core.workers == {}
        cluster.worker("w0", resume=(1, 0))
        assert refusal(cluster, "w0") == code
        cluster.worker("w0-anew")
        assert list(cluster.core.workers) == ["w0-anew"]

    def test_who_is_told_to_leave_while_it_is_away_hears_it_when_it_comes_back(self) -> None:
        cluster = Cluster(workers=1)
        cluster.cut("w0")
        cluster.say("c", (m.CALL, 50, "restart", ()))
        assert cluster.core.workers == {}
        cluster.worker("w0", resume=(1, 0))
        assert refusal(cluster, "w0") == "restart"

    def test_who_is_told_to_leave_before_its_inventory_is_here_hears_it_at_once(self) -> None:
        cluster = Cluster(workers=1)
        cluster.cut("w0")
        cluster.worker("w0", resume=(1, 0))
        cluster.say("c", (m.CALL, 50, "restart", ()))
        assert [x[0] for x in cluster.take("w0")] == [m.STOP]

    def test_another_version_is_refused_as_ever(self) -> None:
        cluster = Cluster(workers=1)
        cluster.cut("w0")
        cluster.worker("w0", resume=(1, 0), versions=VERSIONS | {"python": "3.9"})
        assert refusal(cluster, "w0") == "version"
        assert list(cluster.core.workers) == ["w0"]  # until its time is over

    def test_verdicts_take_into_account_who_has_come_back(self) -> None:
        cluster = Cluster()
        cluster.submit({"bad": ()})
        for index in range(3):
            cluster.worker(f"w{index}")
            cluster.lose(f"w{index}")
        assert cluster.status("bad") == "queued"
        cluster.come_back("w2")
        cluster.now += VERDICT_S
        cluster.step()
        assert cluster.core.tasks["bad"].kills == 2
        assert list(cluster.runs("w2")) == ["bad"]
