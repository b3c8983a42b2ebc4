"""The examples run, and print what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

from tests.support.repository import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EXPECTED = {
    "futures.py": ["sum of squares: 2470", "10816]", "failed as it should: division by zero", "[0, 99999, 100000]"],
    "async_client.py": ["2584, 4181]", "one of them: 55", "meanwhile: True"],
    "graphs.py": ["in this thread: {'count': 6857", "on a cluster:   {'count': 6857", "two parts:      857 857"],
}


#: How long the tasks of the story take here, and how many of them follow on each other, with all schedulers together.
SECONDS = 0.1
IN_A_ROW = 8 + 5 * 4 + 3 * 2 + 1


def run_example(name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    noise = "\n".join(line for line in result.stderr.splitlines() if not line.startswith("port 8787 is taken"))
    assert noise == "", f"{name} writes to stderr: {result.stderr}"
    return result.stdout


def test_every_example_is_tested() -> None:
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert names == {*EXPECTED, "schedulers.py", "stdlib.py"}


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name: str) -> None:
    output = run_example(name)
    for text in EXPECTED[name]:
        assert text in output


def test_the_story_of_the_schedulers_ends_with_the_dashboard_and_the_times() -> None:
    """What ``make demo`` runs, with shorter tasks. The notebook's test looks at the times; here it must only be quick
    enough: with tasks of one second it would take less than a minute."""
    begin = time.perf_counter()
    output = run_example("schedulers.py", "--seconds", str(SECONDS))
    assert time.perf_counter() - begin < 60 - IN_A_ROW * (1 - SECONDS)
    assert output.count("\n36 after ") == 10
    end = output.rpartition("\nDashboard: ")[2].splitlines()
    assert re.fullmatch(r"http://\S+", end[0])
    assert [re.split("  +", line)[1] for line in end[2:]] == [
        "synchronous",
        "2 threads",
        "2 processes",
        "Client()",
        "Client(processes=False)",
        "LocalCluster, 2 workers",
        "LocalCluster, 4 workers",
        "globally: 8 threads",
        "in a block: 4 threads",
        "per call: the client",
    ]


def test_the_standard_library_is_read() -> None:
    output = run_example("stdlib.py")
    modules = re.search(r"modules +([\d,]+)\n", output)
    assert modules is not None
    assert int(modules[1].replace(",", "")) > 300
    assert re.search(r"Dashboard: http://\S+", output)
    assert re.search(r"10,000 tiny tasks more, submit to gathered: [\d.]+ s, [\d,]+ tasks/s", output)
