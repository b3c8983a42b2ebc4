"""The docstrings: their examples are true, and those of the public names say all there is to know."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import myscheduler
from myscheduler import Client
from tests.support.repository import module_name, package_files, read

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
HELPERS = ("tests/support/repository.py", "tests/docs/pages.py", "tests/docs/test_code_blocks.py", "docs/statechart.py")
SOURCES = [path for path in (*package_files(), *HELPERS) if ">>> " in read(path)]

#: In the examples of these files ``client`` is a client of a running cluster.
WITH_CLIENT = ("client/api/", "deploy/local.py", "graph/compute.py", "worker/server/context.py")

CLASSES = (
    myscheduler.Client,
    myscheduler.Future,
    myscheduler.LocalCluster,
    myscheduler.as_completed,
    myscheduler.Delayed,
)
#: Of classes, but not for users.
INTERNAL = {"reduce_outside_call", "settled", "session", "submitter"}
FUNCTIONS = [
    name
    for name in myscheduler.__all__
    if inspect.isfunction(inspect.unwrap(getattr(myscheduler, name))) and name == name.lower()
]
METHODS = [
    (f"{kind.__name__}.{name}", method)
    for kind in CLASSES
    for name, method in inspect.getmembers_static(kind)
    if not name.startswith("_") and name not in INTERNAL and not inspect.ismemberdescriptor(method)
]


@pytest.fixture
def client() -> Iterator[Client]:
    """Scheduler and one worker in this process: started in milliseconds."""
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
        yield client


@pytest.mark.parametrize("path", SOURCES)
def test_examples(path: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module_name(path) if path in package_files() else path.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name)
    given = {"client": request.getfixturevalue("client")} if path.startswith(WITH_CLIENT) else {}
    monkeypatch.chdir(tmp_path)
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = [test for test in finder.find(module, name, extraglobs=given) if test.examples]
    assert tests, f"{path} has examples that doctest does not find"
    skipped = [test.name for test in tests for example in test.examples if doctest.SKIP in example.options]
    assert not skipped, f"these examples are not run: {skipped}"
    reports: list[str] = []
    for test in tests:
        doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=reports.append)
    assert not reports, "".join(reports)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: str(kind.__name__))
def test_classes_say_what_they_take_and_show_how(kind: type) -> None:
    text = inspect.getdoc(kind) or ""
    if kind is not myscheduler.Delayed:  # made by delayed()
        assert missing_parameters(kind, text) == []
    assert "\nExamples\n---" in text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_say_what_they_take_and_give_and_show_how(name: str) -> None:
    function = inspect.unwrap(getattr(myscheduler, name))
    text = inspect.getdoc(function) or ""
    assert missing_parameters(function, text) == []
    assert "\nExamples\n---" in text
    if gives_something(function) and name != "annotate":
        assert "\nReturns\n---" in text


@pytest.mark.parametrize(("name", "method"), METHODS, ids=[name for name, _ in METHODS])
def test_methods_say_what_they_take_and_give(name: str, method: object) -> None:
    function: Any = getattr(method, "fget", None) or getattr(method, "__func__", method)
    text = inspect.getdoc(function) or ""
    assert text, f"{name} needs a docstring"
    if isinstance(method, property) or not inspect.isfunction(function):
        return
    assert missing_parameters(function, text) == []
    if name.startswith("Client."):
        assert "\nExamples\n---" in text


def missing_parameters(function: Callable[..., object], text: str) -> list[str]:
    """Parameters that the section on parameters does not name."""
    section = re.search(r"(?s)\nParameters\n-+\n(.*?)(?:\n\n\w+\n---|\Z)", text)
    listed = section[1] if section else ""
    names = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    return [name for name in names if not re.search(rf"(?m)^[^\n:]*(?<!\w){name}(?!\w)", listed)]


def gives_something(function: Callable[..., object]) -> bool:
    return inspect.signature(function).return_annotation not in ("None", None)
