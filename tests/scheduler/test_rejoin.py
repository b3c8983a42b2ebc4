"""Workers whose links break: what stays theirs for a moment, and who is not let in again."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.deaths import PLANNED, VERDICT_S
from myscheduler.scheduler.events import PeerJoined, PeerLeft, Received
from myscheduler.scheduler.rejoin import AWAY_S
from tests.support.scheduler import VERSIONS, Cluster, copy, run


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
