"""A child does not outlive the other end of its lifeline, not even while C code holds the interpreter lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

CHILD = """
import sys
from myscheduler.base.lifeline import bind_life_to
assert bind_life_to(int(sys.argv[1]))
print("bound", flush=True)
import ctypes
ctypes.PyDLL(None).sleep(60)  # PyDLL does not release the interpreter lock
"""


def test_the_kernel_ends_a_child_that_holds_the_lock() -> None:
    read_end, write_end = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(read_end)], pass_fds=(read_end,), stdout=subprocess.PIPE
    ) as child:
        os.close(read_end)
        assert child.stdout is not None
        assert child.stdout.readline() == b"bound\n"
        os.close(write_end)
        assert child.wait(timeout=10) == -signal.SIGIO


def test_a_lifeline_that_is_already_cut_ends_the_child_at_once() -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(read_end)], pass_fds=(read_end,), stdout=subprocess.PIPE
    ) as child:
        os.close(read_end)
        assert child.wait(timeout=10) < 0
