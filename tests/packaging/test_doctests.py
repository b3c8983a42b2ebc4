"""The examples in the documentation are true."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from tests.support.repository import ROOT, read, tracked_files

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
DOCUMENTS = [path for path in tracked_files() if path.endswith(".md") and ">>> " in read(path)]


def run(test: doctest.DocTest) -> str:
    """Run the examples of one docstring; returns the report of those that failed."""
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=report.append)
    return "".join(report)


def python_blocks(text: str) -> str:
    """What stands between ```python and ```, every line in its place; the others are empty."""
    lines, inside = [], False
    for line in text.splitlines():
        inside = line.strip() == "```python" or (inside and not line.strip().startswith("```"))
        lines.append(line if inside and not line.strip().startswith("```") else "")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", DOCUMENTS)
def test_examples_in_documents(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(python_blocks(read(path)), {}, path, str(ROOT / path), 0)
    report = run(test)
    assert not report, report
