"""What a keeper does when its process ends."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from myscheduler.deploy import keeper as keeper_module
from myscheduler.deploy.exits import CLOSED, REFUSED, UNREACHABLE
from myscheduler.deploy.keeper import FAILURES_MAX, FAILURES_MAX_STARTING, Keeper
from myscheduler.deploy.obituary import Obituary
from myscheduler.deploy.standstill import Standstill, Verdict


class FakeBoard:
    beats = 1
    running = (5, 6)


class FakeProcess:
    """A process that ends when the test says so."""

    output = ""
    board: FakeBoard | None = None
    captures = True
    was_ready = False
    was_cut_short = False

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def end(self, code: int) -> None:
        self.returncode = code
        self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def last_output(self) -> str:
        return self.output

    def kill(self) -> None:
        self.end(-9)

    async def stop(self, grace: float, patience: float) -> int:
        if self.returncode is None:
            self.end(-15)
        return await self.wait()


class Place:
    """A keeper, the processes it started, and how it ended."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.ended: list[str] = []
        self.deaths: list[Obituary] = []
        self.started = asyncio.Event()
        self.keeper = self.keep()

    def keep(self, **options: Any) -> Keeper:
        def on_ended(keeper: Keeper, reason: str) -> None:
            self.ended.append(reason)

        self.keeper = Keeper("worker 3", self.spawn, on_ended, on_death=self.deaths.append, **options)  # type: ignore[arg-type]
        return self.keeper

    def spawn(self) -> FakeProcess:
        self.processes.append(FakeProcess(len(self.processes) + 1))
        self.started.set()
        return self.processes[-1]

    async def fail(self, code: int, times: int = 1) -> None:
        """End the process, and wait for the next, ``times`` times."""
        for _ in range(times):
            self.started.clear()
            self.processes[-1].end(code)
            async with asyncio.timeout(5):
                await self.started.wait()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(keeper_module, "PAUSE_S", 0.0)
    return Place()


async def test_replaces_what_died_and_says_so_in_one_line(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.keeper.start()
    assert place.keeper.pid == 1
    await place.fail(-9)
    assert place.keeper.pid == 2
    assert place.keeper.restarts == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "worker 3 (pid 1) was killed by SIGKILL (if nobody sent it: by the kernel, out of memory) after 0.0 s; "
        "another one starts now"
    )
    await place.keeper.stop()


async def test_says_the_last_of_what_the_process_said(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.keeper.start()
    place.processes[0].output = "Traceback ...\nImportError: no\n"
    await place.fail(1)
    assert caplog.records[0].getMessage().endswith("starts now\n    Traceback ...\n    ImportError: no")
    await place.keeper.stop()


async def test_gives_up_what_never_came_up(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.keeper.start()
    await place.fail(1, FAILURES_MAX_STARTING - 1)
    place.processes[-1].end(1)
    assert await place.keeper.wait() == 1
    assert len(place.processes) == FAILURES_MAX_STARTING
    assert place.ended == ["exited with code 1, 3 times in a row"]
    assert place.keeper.failure is not None
    assert "it is not started again" in caplog.records[-1].getMessage()


async def test_is_patient_with_what_was_ready_once(place: Place) -> None:
    place.keeper.ready = True
    place.keeper.start()
    await place.fail(-11, FAILURES_MAX - 1)
    assert place.ended == []
    place.processes[-1].end(-11)
    await place.keeper.wait()
    assert len(place.processes) == FAILURES_MAX


@pytest.mark.parametrize("code", [CLOSED, REFUSED])
async def test_an_exit_code_of_a_task_is_not_taken_for_ours(
    place: Place, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProcess, "was_cut_short", True)
    place.keeper.start()
    await place.fail(code)
    assert (place.ended, len(place.processes)) == ([], 2)
    assert [death.code for death in place.deaths] == [code]
    await place.keeper.stop()


async def test_never_gives_up_what_was_at_work_and_does_not_wait_long(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProcess, "was_ready", True)
    monkeypatch.setattr(keeper_module, "PAUSE_S", 100.0)
    monkeypatch.setattr(keeper_module, "PAUSE_AFTER_WORK_S", 0.0)
    place.keeper.start()
    await place.fail(-11, 3 * FAILURES_MAX)
    assert place.ended == []
    await place.keeper.stop()


async def test_a_long_life_forgives_earlier_failures(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "STABLE_S", -1.0)
    place.keeper.start()
    await place.fail(1, 50)
    assert place.ended == []
    await place.keeper.stop()


@pytest.mark.parametrize("code", [UNREACHABLE, REFUSED])
async def test_does_not_repeat_what_cannot_succeed(place: Place, code: int) -> None:
    place.keeper.start()
    place.processes[0].end(code)
    await place.keeper.wait()
    assert len(place.processes) == 1
    assert place.ended[0].endswith(f"(exited with code {code})")
    assert place.keeper.failure is not None


async def test_lets_go_what_closed_as_asked(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.keeper.start()
    place.processes[0].end(CLOSED)
    await place.keeper.wait()
    assert (place.ended, place.deaths) == (["closed"], [])
    assert place.keeper.failure is None
    assert caplog.records == []


async def test_stop_ends_the_process_and_the_watch(place: Place) -> None:
    place.keeper.start()
    await place.keeper.stop()
    assert place.processes[0].returncode == -15
    assert [death.cause for death in place.deaths] == ["planned"]
    assert (place.ended, len(place.processes), place.keeper.pid) == ([], 1, None)


async def test_tells_how_each_process_ended(place: Place) -> None:
    place.keeper.start()
    place.processes[0].output = "Fatal error\n"
    await place.fail(-11)
    await place.fail(7)
    await place.keeper.stop()
    assert [(death.pid, death.code, death.cause, death.last_words) for death in place.deaths] == [
        (1, -11, "crash", ("Fatal error",)),
        (2, 7, "exit", ()),
        (3, -15, "planned", ()),
    ]


async def test_kills_and_replaces_what_outgrows_its_memory(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "SAMPLE_S", 0.001)
    samples: dict[int, list[int | None]] = {1: [100, 850, 960], 2: [100, None, 900]}
    monkeypatch.setattr(keeper_module, "used_bytes", lambda pid: samples[pid].pop(0) if samples[pid] else 100)
    place.keep(memory_limit=1000).start()
    place.started.clear()
    async with asyncio.timeout(5):
        await place.started.wait()
        while samples[2]:  # the second one is looked at as well, and left alone
            await asyncio.sleep(0)
    assert (place.processes[0].returncode, place.processes[1].returncode) == (-9, None)
    await place.keeper.stop()
    death, stopped = place.deaths
    assert (death.cause, death.memory, death.memory_limit, stopped.cause) == ("memory", 960, 1000, "planned")
    message = next(text for text in caplog.messages if "another one starts" in text)
    assert "was killed by its keeper for using too much memory after 0.0 s; it used 960 B, over 95%" in message
    assert "of its memory limit of 1000 B; another one starts now. What helps: give workers more memory" in message
    assert "myworker --memory-limit" in message


async def test_does_not_look_at_what_has_no_limit_to_keep(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(keeper_module, "used_bytes")
    place.keeper.start()
    await place.fail(1)
    await place.keeper.stop()
    assert place.deaths[0].memory == 0


async def test_vouches_for_what_lives_and_kills_what_is_stopped(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    verdicts = iter([Verdict.NOTHING, Verdict.VOUCH, Verdict.STOPPED])
    monkeypatch.setattr(Standstill, "judge", lambda self, now, beats: next(verdicts, Verdict.NOTHING))
    monkeypatch.setattr(keeper_module, "SAMPLE_S", 0.0)
    monkeypatch.setattr(FakeProcess, "board", FakeBoard())
    words: list[tuple[int, float]] = []
    place.keep(on_silence=lambda pid, busy: words.append((pid, busy)))
    place.keeper.start()
    place.started.clear()
    async with asyncio.timeout(5):
        await place.started.wait()
    assert words == [(1, 0.0)]
    assert [(death.cause, death.running) for death in place.deaths] == [("stopped", (5, 6))]
    assert "worker 3 (pid 1) was killed by its keeper because somebody had stopped it (SIGSTOP) for 12 s" in caplog.text
    await place.keeper.stop()
