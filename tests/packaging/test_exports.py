"""The public names. Whoever changes this list changes what users' programs may rely on: write a changelog fragment."""

from __future__ import annotations

import ast
import re

import pytest

import myscheduler
from tests.support.repository import read, tree

PUBLIC = """
    ALL_COMPLETED FIRST_COMPLETED FIRST_EXCEPTION
    Client Future LocalCluster
    as_completed default_client fire_and_forget get_client progress wait
    Delayed Retry annotate compute delayed persist tokenize visualize
    cancelled check_cancelled get_task_key get_worker rejoin secede
    Callback ProgressBar config
    MySchedulerError UsageError KeyTypeError GraphError SerializationError NotAResultError VersionMismatchError
    ClusterError ConnectionFailedError AuthenticationError ClosedError KilledWorkerError LostDataError
    InsufficientMemoryError TaskTimeoutError CancelledError
    __version__
""".split()


def test_the_public_names_are_these() -> None:
    assert set(myscheduler.__all__) == set(PUBLIC)
    assert dir(myscheduler) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(myscheduler, name)
    assert name == name.upper() or name == "__version__" or value.__doc__, f"{name} needs a docstring"


def test_type_checkers_see_the_same_names() -> None:
    """They read the imports under TYPE_CHECKING; programs get the names when they first use them."""
    seen = set()
    for node in tree("__init__.py").body:
        if isinstance(node, ast.If):
            imports = [child for child in ast.walk(node) if isinstance(child, ast.ImportFrom)]
            seen |= {alias.asname or alias.name for child in imports for alias in child.names}
    assert seen == set(PUBLIC) - {"__version__"}


def test_an_unknown_name_is_named_in_the_error() -> None:
    with pytest.raises(AttributeError, match="module 'myscheduler' has no attribute 'Sheduler'"):
        _ = myscheduler.Sheduler  # type: ignore[attr-defined]


def test_the_reference_names_them_all() -> None:
    written = set(re.findall(r"`([A-Za-z_]+)`", read("docs/reference.md")))
    missing = set(PUBLIC) - written - {"__version__"}
    assert not missing, f"docs/reference.md does not name {sorted(missing)}"
