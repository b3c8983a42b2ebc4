from __future__ import annotations

import io
import threading

import pytest

from myscheduler.graph.delayed import delayed
from myscheduler.local.progress import ProgressBar

WAIT = 20


class Output(io.StringIO):
    """Remembers when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_one_line_that_grows() -> None:
    out = Output()
    with ProgressBar(width=4, dt=0.001, out=out) as bar:
        wait = delayed(out.written.wait)
        assert delayed(lambda one, seen: (one, seen))(1, wait(WAIT)).compute(scheduler="threads", optimize_graph=False)
    lines = out.getvalue().split("\r")
    assert lines[0] == ""
    assert lines[1].startswith("[    ] | 0/2 |   0% | 0.")
    assert lines[-1].startswith("[####] | 2/2 | 100% | ")
    assert lines[-1].endswith(" s\n")
    assert bar.last_duration > 0


def test_a_file_gets_the_last_line_only() -> None:
    out, event = io.StringIO(), threading.Event()
    with ProgressBar(dt=0.001, out=out) as bar:
        delayed(event.wait)(0.02).compute(scheduler="threads")
        assert bar._timer is not None
    assert out.getvalue().count("|") == 3


def test_errors_stop_it() -> None:
    out = io.StringIO()
    with ProgressBar(out=out) as bar, pytest.raises(ZeroDivisionError):
        delayed(lambda: 1 / 0)().compute(scheduler="synchronous")
    assert "| 0/1 |" in out.getvalue()
    assert bar._timer is not None
    assert not bar._timer.is_alive()


def test_short_runs_need_no_bar() -> None:
    out = io.StringIO()
    with ProgressBar(minimum="1 hour", out=out) as bar:
        delayed(abs)(-1).compute(scheduler="synchronous")
    assert out.getvalue() == ""
    assert bar.last_duration > 0


def test_standard_output_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar():
        delayed(abs)(-1).compute(scheduler="synchronous")
    assert capsys.readouterr().out.endswith("[########################################] | 1/1 | 100% | 0.0 s\n")
    with ProgressBar(out=False):
        delayed(abs)(-1).compute(scheduler="synchronous")
    assert capsys.readouterr().out == ""


def test_a_closed_file_is_no_reason_to_fail() -> None:
    out = io.StringIO()
    out.close()
    with ProgressBar(out=out):
        assert delayed(abs)(-1).compute(scheduler="synchronous") == 1
