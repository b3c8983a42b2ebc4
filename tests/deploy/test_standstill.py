"""What a keeper makes of a worker that says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from myscheduler.deploy.standstill import SILENT_MAX_S, STOPPED_MAX_S, VOUCH_S, Standstill, Verdict
from myscheduler.worker.server.metrics import Sight, look_at
from tests.client.support import eventually

LIVES = Sight(stopped=False, cpu_s=0.0)
STOPPED = Sight(stopped=True, cpu_s=0.0)


class Watched:
    """A process whose looks the test decides, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.beats = 1
        self.looks = 0
        self.sight: Sight | None = LIVES
        self.cpu_per_s = 0.0
        self.watch = Standstill(7, self.now, self._look)
        self.pass_time(0.5, beating=True)

    def _look(self, pid: int) -> Sight | None:
        self.looks += 1
        return None if self.sight is None else self.sight._replace(cpu_s=self.cpu_per_s * self.now)

    def pass_time(self, seconds: float, step: float = 0.25, beating: bool = False) -> list[Verdict]:
        """What is to be done, other than nothing."""
        verdicts = []
        for _ in range(round(seconds / step)):
            self.now += step
            self.beats += beating
            verdicts.append(self.watch.judge(self.now, self.beats))
        return [verdict for verdict in verdicts if verdict is not Verdict.NOTHING]


def test_a_worker_that_beats_is_not_even_looked_at() -> None:
    watched = Watched()
    assert watched.pass_time(1000, beating=True) == []
    assert watched.looks == 0


def test_one_that_stands_still_but_lives_is_vouched_for_until_it_beats_again() -> None:
    watched = Watched()
    assert watched.pass_time(3) == []
    assert watched.pass_time(20) == [Verdict.VOUCH] * 7
    assert watched.watch.busy == 0.0
    assert watched.pass_time(10, beating=True) == []
    watched.cpu_per_s = 0.9
    assert watched.pass_time(3 + VOUCH_S) == [Verdict.VOUCH]
    assert watched.watch.busy == pytest.approx(0.9)


def test_one_that_is_stopped_is_not_vouched_for_and_killed_in_the_end() -> None:
    watched = Watched()
    watched.sight = STOPPED
    assert watched.pass_time(STOPPED_MAX_S - 0.25) == []
    assert watched.pass_time(0.25) == [Verdict.STOPPED]


def test_one_that_was_let_go_on_in_time_is_left_alone() -> None:
    watched = Watched()
    watched.sight = STOPPED
    assert watched.pass_time(STOPPED_MAX_S - 0.5) == []
    watched.sight = LIVES
    assert watched.pass_time(1) == [Verdict.VOUCH]
    watched.sight = STOPPED
    assert watched.pass_time(STOPPED_MAX_S - 0.5) == []
    assert watched.pass_time(0.5) == [Verdict.STOPPED]


def test_our_own_absence_is_held_against_nobody() -> None:
    watched = Watched()
    watched.sight = STOPPED
    assert watched.pass_time(20 * 60.0, step=60.0) == []
    assert watched.watch.silent_s == 10.0


def test_one_that_never_answers_again_is_killed_after_minutes() -> None:
    watched = Watched()
    verdicts = watched.pass_time(SILENT_MAX_S)
    assert verdicts[-1] is Verdict.STUCK
    assert verdicts.count(Verdict.STUCK) == 1


def test_one_that_has_not_begun_may_take_its_time_unless_it_is_stopped() -> None:
    watched = Watched()
    watched.beats = 0
    assert watched.pass_time(2 * SILENT_MAX_S) == []
    watched.sight = STOPPED
    assert watched.pass_time(STOPPED_MAX_S) == [Verdict.STOPPED]


def test_one_that_has_ended_is_nothing_to_judge() -> None:
    watched = Watched()
    watched.sight = None
    assert watched.pass_time(2 * SILENT_MAX_S) == []


def test_what_is_seen_of_a_real_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        eventually(lambda: (look_at(process.pid) or STOPPED).cpu_s > 0)
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: (look_at(process.pid) or LIVES).stopped)
        process.send_signal(signal.SIGCONT)
        eventually(lambda: not (look_at(process.pid) or STOPPED).stopped)
    finally:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert look_at(process.pid) is None  # a zombie
        process.wait()
    assert look_at(process.pid) is None
