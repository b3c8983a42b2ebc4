"""Suspects are judged when it is known how their workers died."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.deaths import KILLS_MAX, REMEMBERED_MAX, STORY_CHARS_MAX, VERDICT_S
from tests.support.scheduler import Cluster


def failures(cluster: Cluster) -> dict[Any, str]:
    """Texts of the failures since the last call, by key."""
    return {row[0]: row[2] for row in cluster.rows("c", m.FAILED)}


def tell(
    cluster: Cluster, name: str, story: str, cause: str = "crash", pid: int = 1, running: tuple[int, ...] = ()
) -> None:
    assert cluster.call("worker_died", name, pid, cause, story, running) is None


class TestVerdict:
    def test_names_the_attempts_the_workers_and_how_each_died(self) -> None:
        cluster = Cluster()
        cluster.submit({"bad": ()})
        attempts = []
        for index, cause in enumerate(("memory", "crash", "crash")):
            cluster.worker(f"w{index}")
            attempts.append(cluster.runs(f"w{index}")["bad"])
            assert failures(cluster) == {}
            cluster.lose(f"w{index}")
            tell(cluster, f"w{index}", f"story {index}", cause)
        assert failures(cluster) == {
            "bad": "KilledWorkerError: task 'bad' was running on 3 workers when they died, so it is not tried again.\n"
            f"- attempt {attempts[0]} on worker w0 (tcp://w0): story 0\n"
            f"- attempt {attempts[1]} on worker w1 (tcp://w1): story 1\n"
            f"- attempt {attempts[2]} on worker w2 (tcp://w2): story 2\n"
            "What to try: It outgrew the memory of its workers: give them more (LocalCluster(memory_limit=...), myworker "
            "--memory-limit), or fewer threads each, or split the task. Compiled code crashed: the last words say where. Call "
            "the function in a process of your own to repeat it."
        }

    def test_waits_for_the_story_of_the_last_death_but_not_for_long(self) -> None:
        cluster = Cluster()
        cluster.submit({"bad": (), "next": ("bad",)})
        kill(cluster, KILLS_MAX)
        assert cluster.status("bad") == "queued"
        assert cluster.call("explain", "bad") == (
            "'bad' was running on 3 workers when they died; how the last one did is about to be known."
        )
        assert 0.0 < (cluster.machine.next_deadline() or 0.0) <= VERDICT_S
        cluster.worker("w-new")
        assert cluster.runs("w-new") == {}
        cluster.now = VERDICT_S - 0.01
        cluster.step()
        assert failures(cluster) == {}
        cluster.now = VERDICT_S
        cluster.step()
        found = failures(cluster)
        assert set(found) == {"bad", "next"}
        assert "worker w2 (tcp://w2): connection reset; nobody told how its process ended" in found["bad"]
        assert "If the workers ran out of memory" in found["bad"]

    def test_a_story_may_come_before_the_death_is_noticed(self) -> None:
        cluster = Cluster()
        cluster.submit({"bad": ()})
        for index in range(KILLS_MAX):
            cluster.worker(f"w{index}")
            tell(cluster, f"w{index}", f"story {index}")
            cluster.lose(f"w{index}")
        assert "worker w2 (tcp://w2): story 2" in failures(cluster)["bad"]

    def test_a_task_that_nobody_wants_any_more_is_not_judged(self) -> None:
        cluster = Cluster()
        cluster.submit({"bad": ()})
        kill(cluster, KILLS_MAX)
        cluster.say("c", (m.RELEASE, ("bad",)))
        cluster.now = VERDICT_S
        cluster.step()
        assert (failures(cluster), cluster.status("bad"), cluster.core.deaths.pending) == ({}, "unknown", {})

    def test_an_input_that_is_lost_meanwhile_does_not_delay_it(self) -> None:
        cluster = Cluster(workers=1)
        cluster.submit({"input": (), "bad": ("input",)})
        cluster.finish("w0", cluster.runs("w0"))
        for index in range(KILLS_MAX):
            cluster.lose(f"w{index}")
            cluster.worker(f"w{index + 1}")
            cluster.finish(
                f"w{index + 1}", {key: a for key, a in cluster.runs(f"w{index + 1}").items() if key == "input"}
            )
        cluster.lose(f"w{KILLS_MAX}")
        cluster.now = VERDICT_S
        cluster.step()
        assert list(failures(cluster)) == ["bad"]

    def test_a_task_that_is_tried_again_on_demand_begins_with_a_clean_record(self) -> None:
        cluster = Cluster()
        cluster.submit({"bad": ()})
        kill(cluster, KILLS_MAX)
        cluster.now = VERDICT_S
        cluster.step()
        assert failures(cluster)
        cluster.say("c", (m.RETRY, 90, ("bad",)))
        kill(cluster, KILLS_MAX - 1, "v")
        assert failures(cluster) == {}
        assert [str(death)[:9] for _, death in cluster.core.deaths.suffered["bad"]] == ["worker v0", "worker v1"]
        cluster.worker("w-last")
        cluster.run_all()
        assert cluster.outcomes() == {"bad": "memory"}

    def test_nothing_is_kept_of_what_is_forgotten_and_little_of_the_rest(self) -> None:
        cluster = Cluster()
        cluster.submit({"bad": ()})
        for index in range(REMEMBERED_MAX + 10):
            cluster.worker(f"w{index}")
            cluster.lose(f"w{index}")
            tell(cluster, f"never-seen-{index}", "x" * 2 * STORY_CHARS_MAX)
            tell(cluster, f"w{index}", "x" * 2 * STORY_CHARS_MAX)
        deaths = cluster.core.deaths
        assert (len(deaths.last), len(deaths.early)) == (REMEMBERED_MAX, REMEMBERED_MAX)
        assert all(len(death.story) == STORY_CHARS_MAX for death in deaths.last.values())
        cluster.say("c", (m.RELEASE, ("bad",)))
        assert deaths.suffered == {}

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("w0",),
            (1, 1, "", "", ()),
            ("w0", "1", "", "", ()),
            ("w0", 1, "", None, ()),
            ("w0", 1, "", "", ("1",)),
            ("w0", 1, "", "", 1),
        ],
    )
    def test_garbled_stories_are_refused(self, arguments: tuple[Any, ...]) -> None:
        cluster = Cluster()
        cluster.say("c", (m.CALL, 90, "worker_died", arguments))
        assert cluster.disconnected["c"].startswith("worker_died: bad arguments")


def kill(cluster: Cluster, times: int, prefix: str = "w") -> None:
    """Start workers one after the other, and lose each."""
    for index in range(times):
        cluster.worker(f"{prefix}{index}")
        cluster.lose(f"{prefix}{index}")


class TestBlame:
    @staticmethod
    def _running(cluster: Cluster) -> dict[Any, int]:
        """Four tasks at a worker with two threads."""
        cluster.worker("w0", nthreads=2)
        cluster.submit({"a": (), "b": (), "c": (), "d": ()})
        runs = cluster.runs("w0")
        assert list(runs) == ["a", "b", "c", "d"]
        return runs

    @staticmethod
    def _kills(cluster: Cluster) -> list[int]:
        return [cluster.core.tasks[key].kills for key in ("a", "b", "c", "d")]

    def test_exactly_those_are_suspects_that_ran(self) -> None:
        cluster = Cluster()
        runs = self._running(cluster)
        tell(cluster, "w0", "it crashed", running=(runs["c"],))
        cluster.lose("w0")
        assert self._kills(cluster) == [0, 0, 1, 0]

    def test_what_ran_outside_of_the_slots_counts_as_well(self) -> None:
        cluster = Cluster()
        runs = self._running(cluster)
        cluster.say("w0", (m.SECEDED, (("b", runs["b"]),)))
        tell(cluster, "w0", "it crashed", running=(runs["b"], runs["d"]))
        cluster.lose("w0")
        assert self._kills(cluster) == [0, 1, 0, 1]

    def test_if_nobody_knows_those_are_taken_that_may_have_run(self) -> None:
        cluster = Cluster()
        self._running(cluster)
        tell(cluster, "w0", "it crashed", running=(999,))
        cluster.lose("w0")
        assert self._kills(cluster) == [1, 1, 0, 0]

    def test_who_turns_out_to_be_innocent_later_is_acquitted(self) -> None:
        cluster = Cluster()
        runs = self._running(cluster)
        cluster.lose("w0")
        assert self._kills(cluster) == [1, 1, 0, 0]
        tell(cluster, "w0", "it crashed", running=(runs["b"],))
        assert self._kills(cluster) == [0, 1, 0, 0]
        assert cluster.core.tasks["a"].requirement is cluster.core.common

    def test_a_late_word_of_what_nobody_suspected_changes_nothing(self) -> None:
        cluster = Cluster()
        runs = self._running(cluster)
        cluster.lose("w0")
        tell(cluster, "w0", "it crashed", running=(runs["d"],))
        assert self._kills(cluster) == [1, 1, 0, 0]


class TestPardon:
    def test_a_planned_death_is_held_against_nobody(self) -> None:
        cluster = Cluster()
        cluster.submit({"x": ()})
        kill(cluster, KILLS_MAX)
        tell(cluster, "w2", "was stopped", "planned")
        cluster.now = VERDICT_S
        cluster.step()
        assert failures(cluster) == {}
        assert cluster.core.tasks["x"].kills == KILLS_MAX - 1
        cluster.worker("w-last")
        cluster.run_all()
        assert cluster.outcomes() == {"x": "memory"}
