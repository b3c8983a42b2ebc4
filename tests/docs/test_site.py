"""The site builds without a warning, needs nothing from the network, and shows what it shall show."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT, read

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")),
        reason="needs the extra `docs`: pip install -e .[docs]",
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site. The same command as in the Makefile."""
    folder = tmp_path_factory.mktemp("site")
    command = re.search(r"(?m)^\t\$\(BIN\)/python (-m sphinx .*) docs build/docs$", read("Makefile"))
    assert command is not None
    result = subprocess.run(
        [sys.executable, *command[1].split(), "docs", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return folder


def test_every_page_is_there_and_in_the_navigation(site: Path) -> None:
    first = (site / "index.html").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        target = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (site / target).exists()
        assert target == "index.html" or f'href="{target}"' in first


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loads = re.compile(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(?:https?:)?//[^"]+"')
    assert [found for page in site.rglob("*.html") for found in loads.findall(page.read_text())] == []


def test_docstrings_are_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "client.html").read_text()
    assert 'id="myscheduler.Client.submit"' in page
    assert "How many times to try again if it raises." in page


def test_state_diagrams_are_drawn(site: Path) -> None:
    page = (site / "design.html").read_text()
    assert page.count('<svg class="statechart"') == 3
    assert ">forgotten</text>" in page
