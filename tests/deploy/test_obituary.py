"""How the end of a process is told."""

from __future__ import annotations

import pytest

from myscheduler.deploy.obituary import LINE_CHARS_MAX, LINES_MAX, Obituary, last_lines


@pytest.mark.parametrize(
    ("code", "killed_for", "cause"),
    [(-9, "memory", "memory"), (-9, "", "killed"), (-11, "", "crash"), (-15, "", "signal"), (3, "", "exit")],
)
def test_cause(code: int, killed_for: str, cause: str) -> None:
    assert Obituary(1, code, 1.0, killed_for=killed_for).cause == cause


def test_all_that_is_known_is_one_sentence() -> None:
    obituary = Obituary(12, -9, 61.23, 3_300_000_000, 2**31, last_words=("Traceback", "MemoryError"))
    assert obituary.sentence == (
        "was killed by SIGKILL (if nobody sent it: by the kernel, out of memory) after 61.2 s; it used 3.07 GiB of its "
        "limit of 2.00 GiB; its last words:\n    Traceback\n    MemoryError"
    )
    assert Obituary(12, -9, 61.23, 2**30).how.endswith("after 61.2 s; it used 1.00 GiB")


def test_a_memory_limit_that_was_kept_is_named() -> None:
    assert Obituary(12, -9, 1.0, 2_100_000_000, 2**31, killed_for="memory").sentence == (
        "was killed by its keeper for using too much memory after 1.0 s; it used 1.96 GiB, over 95% "
        "of its memory limit of 2.00 GiB"
    )


def test_one_that_did_not_answer_tells_why_it_was_killed() -> None:
    assert Obituary(12, -9, 20.0, killed_for="stopped").sentence == (
        "was killed by its keeper because somebody had stopped it (SIGSTOP) for 12 s after 20.0 s"
    )
    assert Obituary(12, -9, 400.0, killed_for="stuck").sentence == (
        "was killed by its keeper because it had lived, but not answered, for 300 s after 400.0 s"
    )


def test_a_planned_end_says_so() -> None:
    obituary = Obituary(12, -9, 2.0, planned=True)
    assert obituary.cause == "planned"
    assert obituary.sentence == "was stopped on purpose, and killed because it did not close in time after 2.0 s"


def test_of_a_crash_the_beginning_of_its_report_is_kept() -> None:
    stack = [f'  File "x.py", line {number} in f' for number in range(100)]
    report = ["Fatal Python error: Segmentation fault", "", "Current thread:", *stack]
    output = "\n".join([*["chatter"] * 30, "why", *report])
    lines = last_lines(output, -11)
    assert lines[4:8] == ("why", "Fatal Python error: Segmentation fault", "Current thread:", stack[0])
    assert len(lines) == LINES_MAX
    assert last_lines("Fatal Python error: Aborted\nhere", -6) == ("Fatal Python error: Aborted", "here")
    assert last_lines(output, -9)[-1] == stack[-1]  # that was the crash of something else


def test_last_words_are_bounded() -> None:
    lines = last_lines("\n".join(["x" * 1000] * 1000))
    assert lines == ("x" * LINE_CHARS_MAX,) * LINES_MAX
    assert last_lines("progress 1\rprogress 2\r\n") == ("progress 1", "progress 2")
