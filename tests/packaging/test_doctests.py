"""The examples in the docstrings and in the documentation are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.support.repository import ROOT, module_name, package_files, read, tracked_files

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SOURCES = [path for path in (*package_files(), "tests/support/repository.py") if ">>> " in read(path)]
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


@pytest.mark.parametrize("path", SOURCES)
def test_examples_in_docstrings(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module_name(path) if path in package_files() else path.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module, name) if test.examples]
    assert tests, f"{path} has examples that doctest does not find"
    reports = [report for test in tests if (report := run(test))]
    assert not reports, "\n".join(reports)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_examples_in_documents(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(python_blocks(read(path)), {}, path, str(ROOT / path), 0)
    report = run(test)
    assert not report, report
