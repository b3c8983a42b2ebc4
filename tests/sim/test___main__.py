"""The command: how many seeds went well, and how to repeat one that did not."""

from __future__ import annotations

import sys

import pytest

from myscheduler.sim import Options, SimulationError
from myscheduler.sim import __main__ as command


def test_it_counts_and_exits_with_zero(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sim", "--seeds", "2", "--first", "5"])
    assert command.main() == 0
    assert capsys.readouterr().out.startswith("2 passed, 0 failed (")


def test_a_failure_is_named_with_the_command_that_repeats_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(seed: int, options: Options) -> None:
        raise SimulationError(f"seed {seed}: broken")

    monkeypatch.setattr(command, "simulate", fail)
    monkeypatch.setattr(sys, "argv", ["sim", "--seeds", "1", "--first", "9", "--faults", "kill,cut"])
    assert command.main() == 1
    out = capsys.readouterr().out
    assert "seed 9: broken" in out
    assert "-m myscheduler.sim --seed 9 --faults kill,cut" in out


def test_one_seed_shows_its_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sim", "--seed", "3", "--faults", "none"])
    assert command.main() == 0
    assert capsys.readouterr().out.startswith("Report(seed=3, ")
