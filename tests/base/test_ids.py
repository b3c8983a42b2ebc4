"""Identities repeat with their seed and never otherwise."""

from __future__ import annotations

import subprocess
import sys

from myscheduler.base.ids import IdSource, seeded, unique_suffix


def test_incarnations_are_sixteen_digits_and_differ() -> None:
    source = IdSource()
    found = {source.incarnation() for _ in range(1000)}
    assert len(found) == 1000
    assert all(len(x) == 16 and int(x, 16) >= 0 for x in found)


def test_seeded_sources_repeat() -> None:
    assert [IdSource(7).incarnation() for _ in range(2)] == [IdSource(7).incarnation()] * 2
    assert seeded(3).random() == seeded(3).random()


def test_suffixes_are_never_the_same() -> None:
    prefixes, numbers = zip(*(unique_suffix().split("-") for _ in range(100)), strict=True)
    assert len(set(prefixes)) == 1
    assert len(set(numbers)) == 100


def test_a_forked_child_has_another_prefix() -> None:
    code = """if True:
        import os
        from myscheduler.base.ids import unique_suffix
        mine = unique_suffix()
        pid = os.fork()
        if not pid:
            os._exit(unique_suffix().split("-")[0] == mine.split("-")[0])
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout == "0\n"
