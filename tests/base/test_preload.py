"""``--preload``: files and modules, plain and async, in order."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.preload import Preloads


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


async def test_setup_in_order_and_teardown_in_reverse(write) -> None:
    plain = write(
        "first_preload.py", "def setup(server): server.append('+1')\ndef teardown(server): server.append('-1')"
    )
    write(
        "second_preload.py",
        "async def setup(server): server.append('+2')\nasync def teardown(server): server.append('-2')",
    )
    server: list[str] = []
    preloads = Preloads([plain, "second_preload"])
    await preloads.setup(server)
    await preloads.teardown(server)
    assert server == ["+1", "+2", "-2", "-1"]


async def test_neither_function_is_needed(write, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    preloads = Preloads([write("bare_preload.py", f"import pathlib; pathlib.Path({str(mark)!r}).write_text('ran')")])
    await preloads.setup(None)
    await preloads.teardown(None)
    assert mark.read_text() == "ran"


async def test_a_failing_teardown_does_not_stop_the_others(write, caplog: pytest.LogCaptureFixture) -> None:
    names = [
        write("well_preload.py", "def teardown(server): server.append('well')"),
        write("ill_preload.py", "def teardown(server): 1 / 0"),
    ]
    server: list[str] = []
    await Preloads(names).teardown(server)
    assert server == ["well"]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "teardown of ill_preload failed")
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [("nowhere.py", "--preload nowhere.py: there is no such file"), ("no_such_module", "write its path with .py")],
)
def test_what_is_not_there(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Preloads([name])
