"""The examples run, and print what they promise."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.repository import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EXPECTED = {
    "futures.py": ["sum of squares: 2470", "10816]", "failed as it should: division by zero", "[0, 99999, 100000]"],
    "async_client.py": ["2584, 4181]", "one of them: 55", "meanwhile: True"],
    "graphs.py": ["in this thread: {'count': 6857", "on a cluster:   {'count': 6857", "two parts:      857 857"],
}


def run_example(name: str) -> str:
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)], capture_output=True, text=True, timeout=110, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == "", f"{name} writes to stderr: {result.stderr}"
    return result.stdout


def test_every_example_is_tested() -> None:
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert names == {*EXPECTED, "demo.py"}


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name: str) -> None:
    output = run_example(name)
    for text in EXPECTED[name]:
        assert text in output


def test_the_demo_reads_the_standard_library() -> None:
    output = run_example("demo.py")
    modules = re.search(r"modules +([\d,]+)\n", output)
    assert modules is not None
    assert int(modules[1].replace(",", "")) > 300
    assert re.search(r"Dashboard: http://\S+", output)
    assert re.search(r"10,000 tiny tasks more, submit to gathered: [\d.]+ s, [\d,]+ tasks/s", output)
