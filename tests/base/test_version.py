"""The version stands in two places; they agree."""

from __future__ import annotations

import tomllib
from pathlib import Path

from myscheduler.base.version import VERSION


def test_the_project_says_the_same() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == VERSION
