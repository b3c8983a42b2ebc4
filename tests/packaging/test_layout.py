"""The repository is the package: what can be imported from where, and what it costs."""

from __future__ import annotations

import subprocess
import sys

from tests.support.repository import ROOT


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )


def test_folders_are_no_packages_of_their_own() -> None:
    """``import scheduler`` from the root would make a second copy of every class."""
    result = run_python("import scheduler.state")
    assert result.returncode != 0
    assert "relative import" in result.stderr or "No module named" in result.stderr, result.stderr


def test_importing_the_package_stays_cheap() -> None:
    """What only some programs need loads when it is first needed."""
    result = run_python(
        "import sys, myscheduler; print([m for m in ('bokeh', 'tornado', 'numpy', 'click') if m in sys.modules])"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]", f"import myscheduler also loads {result.stdout.strip()}"
