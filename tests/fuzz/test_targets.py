"""A short run of every target, the same each time. ``make fuzz`` runs them for as long as one likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzz
from tests.fuzz import seeds
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import LIMITS, TARGETS, check_memory, read_messages
from tests.support.repository import ROOT

#: YAML is read by Python code, a hundred times slower than the rest.
CASES = dict.fromkeys(TARGETS, 5000) | {"config": 300}
MEASURED_EVERY = 20


@pytest.mark.parametrize("name", TARGETS)
def test_no_case_raises_what_is_not_documented(name: str) -> None:
    mutator = Mutator(list(seeds.load(name).values()), seed=1)
    for number in range(CASES[name]):
        data = mutator.next()
        try:
            TARGETS[name](data)
            if name in LIMITS and not number % MEASURED_EVERY:
                check_memory(name, data)
        except Exception as error:
            raise AssertionError(f"case {number} of {name}: {data.hex()}") from error
    assert number == CASES[name] - 1


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_passes(name: str) -> None:
    cases = seeds.load(name)
    for data in cases.values():
        TARGETS[name](data)
        if name in LIMITS:
            check_memory(name, data)
    assert cases.keys() > seeds.seeds()[name].keys()


def test_every_message_is_in_the_corpus_and_valid() -> None:
    for name, message in seeds.examples().items():
        (found,) = read_messages(seeds.load("messages")[name])
        assert found[0] == message[0]


def test_a_reader_that_fails_is_reported_with_the_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(TARGETS, "config", broken)
    monkeypatch.setattr(fuzz, "BUILD", tmp_path)
    outcome = fuzz.blind("config", 5.0)
    assert outcome.cases == 1
    assert outcome.crash is not None
    assert "ZeroDivisionError" in outcome.crash
    with pytest.raises(ZeroDivisionError):
        fuzz.replay("config", str(tmp_path / "config-crash"))


def test_the_command() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "0.2", "--target", "handshake-client", "--blind"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "0 crashes" in ended.stdout
