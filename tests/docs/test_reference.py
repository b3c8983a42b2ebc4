"""The reference: everything public is in it, and what is generated from the code is current."""

from __future__ import annotations

import importlib
import inspect
import re

import click
import pytest

import myscheduler
from myscheduler.base import errors
from myscheduler.cli.scheduler import main as scheduler_command
from myscheduler.cli.worker import main as worker_command
from tests.docs.test_docstrings import METHODS
from tests.support.repository import read, tracked_files

REFERENCE = "\n".join(read(path) for path in tracked_files() if path.startswith("docs/reference/"))
#: Explained in words.
IN_WORDS = {"ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION", "__version__"}


@pytest.mark.parametrize("name", [name for name in myscheduler.__all__ if name not in IN_WORDS])
def test_public_names_are_in_the_reference(name: str) -> None:
    if hasattr(errors, name):
        assert re.search(rf"\b{name}\b", read("docs/reference/errors.md"))
    else:
        assert re.search(rf":: myscheduler(\.base)?\.{name}\n", REFERENCE), f"add {name} to a page in docs/reference"


@pytest.mark.parametrize("name", [name for name, _ in METHODS])
def test_methods_are_in_the_reference(name: str) -> None:
    kind, _, method = name.partition(".")
    if kind == "Client":
        assert re.search(rf"(:: myscheduler\.{name}\n|`{name}`)", REFERENCE), f"add {name} to docs/reference/client.md"
    else:
        members = re.search(rf":: myscheduler\.{kind}\n +:members: (.+)\n", REFERENCE)
        assert members is not None
        assert method in members[1].split(", "), f"add {method} to the members of {kind} in docs/reference"


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    depths: list[tuple[str, int]] = []
    for line in read("docs/reference/errors.md").splitlines():
        found = re.match(r"([│├└─ ]*)(\w+Error)\b", line)
        if found:
            depths.append((found[2], len(found[1]) // 4))
    parents: dict[str, str] = {}
    path: list[str] = []
    for name, depth in depths:
        path[depth:] = [name]
        if depth:
            parents[name] = path[depth - 1]
    real = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.MySchedulerError) and kind is not errors.MySchedulerError
    }
    assert parents == real


def test_the_options_of_the_commands_are_current() -> None:
    commands = importlib.import_module("docs.commands")
    page = read("docs/reference/commands.md")
    assert commands.rewritten(page) == page, "run: python docs/commands.py"
    for command in (scheduler_command, worker_command):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[-1] in page
