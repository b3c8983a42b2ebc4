"""The rules of the house that no other tool checks. Each failure says where and what to do."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.support.repository import ROOT, functions, package_files, packages, pure_files, read, tracked_files, tree

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

#: Pure source files that have no test file of their own, and why.
UNTESTED = {
    "base/errors.py": "classes only; their texts are tested where they are raised",
    "base/limits.py": "constants only; they are tested where they bound something",
    "scheduler/events.py": "declarations only",
    "worker/events.py": "declarations only",
}

#: Written in two halves, so that this file does not find itself.
LEFTOVERS = re.compile(r"\b(" + "|".join(["FIX" + "ME", "TO" + "DO", "XX" + "X"]) + r")\b")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(" + "|".join(["wo" + "rk", "tmp/" + "venv", "ro" + "ot"]) + r")/")


def test_files_are_short() -> None:
    long = {path: len(read(path).splitlines()) for path in tracked_files() if path.endswith(".py")}
    long = {path: n for path, n in long.items() if n > FILE_LINES_MAX and not path.startswith("tests/")}
    assert not long, f"split these files, {FILE_LINES_MAX} lines are the limit: {long}"


def test_functions_are_short() -> None:
    long = {
        f"{path}:{function.lineno} {function.name}": length
        for path in tracked_files()
        if path.endswith(".py") and not path.startswith("tests/")
        for function in functions(path)
        if (length := _body_lines(function)) > FUNCTION_LINES_MAX
    }
    assert not long, f"split these functions, {FUNCTION_LINES_MAX} lines without the docstring are the limit: {long}"


def test_every_folder_of_the_package_is_listed() -> None:
    config = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]
    listed = set(config["packages"])
    folders = {".".join(["myscheduler", *filter(None, path.split("/"))]) for path in packages()}
    assert listed == folders, f"[tool.setuptools] packages and the folders differ: {sorted(listed ^ folders)}"


def test_every_file_of_the_package_lies_in_a_listed_folder() -> None:
    lost = [
        path
        for path in tracked_files()
        if path.endswith(".py")
        and path not in package_files()
        and path.split("/")[0] not in {"tests", "benchmarks", "examples", "docs"}
    ]
    assert not lost, f"these files are in no package (is an __init__.py missing?): {lost}"


def test_imports_inside_the_package_are_relative() -> None:
    absolute = [
        f"{path}:{node.lineno}"
        for path in package_files()
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "myscheduler" in _imported(node)
    ]
    assert not absolute, f"import our own modules relatively, not as myscheduler: {absolute}"


@pytest.mark.parametrize(("what", "pattern"), [("leftovers", LEFTOVERS), ("paths of one machine", MACHINE_PATHS)])
def test_no_forbidden_words(what: str, pattern: re.Pattern[str]) -> None:
    found = [
        f"{path}:{number}"
        for path in tracked_files()
        if not path.endswith((".svg", ".png", ".json"))
        for number, line in enumerate(read(path).splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"{what}: {found}"


def test_every_module_says_what_may_live_in_it() -> None:
    silent = [path for path in package_files() if not ast.get_docstring(tree(path))]
    assert not silent, f"these modules need a docstring at their head: {silent}"


def test_every_pure_file_has_a_test_file() -> None:
    missing = {}
    for path in (*pure_files(), *(path for path in package_files() if path.startswith("base/"))):
        folder, _, name = path.rpartition("/")
        expected = f"tests/{folder}/test_{name}"
        if name != "__init__.py" and path not in UNTESTED and not (ROOT / expected).exists():
            missing[path] = expected
    assert not missing, f"pure source files without their test file: {missing}"


def test_exceptions_to_the_rules_still_exist() -> None:
    gone = [path for path in UNTESTED if path not in package_files()]
    assert not gone, f"remove these from UNTESTED: {gone}"


def test_pure_modules_await_nothing() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path in pure_files()
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith))
    ]
    assert not found, f"pure modules have no async code: {found}"


@pytest.mark.parametrize("machine", ["scheduler", "worker", "client"])
def test_states_are_assigned_in_one_module_per_machine(machine: str) -> None:
    """Not counting the state that a new object begins with."""
    places = defaultdict(list)
    for path in pure_files():
        if path.startswith(f"{machine}/"):
            for function in functions(path):
                for target in (target for node in ast.walk(function) for target in _targets(node)):
                    if isinstance(target, ast.Attribute) and target.attr == "state" and function.name != "__init__":
                        places[path].append(target.lineno)
    assert len(places) <= 1, f"only one module per machine may assign a state: {dict(places)}"


def test_tests_wait_for_conditions_instead_of_sleeping() -> None:
    sleepers = [
        f"{path}:{call.lineno}"
        for path in tracked_files()
        if path.startswith("tests/") and path.endswith(".py")
        for function in functions(path)
        if function.name.startswith("test_")
        for call in _calls_at_top(function)
        if ast.unparse(call.func) in {"time.sleep", "sleep", "asyncio.sleep"} and not _is_zero(call)
    ]
    assert not sleepers, f"wait for a condition with a timeout instead: {sleepers}"


def test_every_test_asserts() -> None:
    idle = [
        f"{path}:{function.lineno} {function.name}"
        for path in tracked_files()
        if path.startswith("tests/") and path.endswith(".py")
        for function in functions(path)
        if function.name.startswith("test_") and not _asserts(function)
    ]
    assert not idle, f"these tests assert nothing: {idle}"


# ---- reading syntax trees -------------------------------------------------------------------------------------------


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        length -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return length


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The top-level names of the packages that a statement imports absolutely."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    return {(node.module or "").split(".")[0]} if node.level == 0 else set()


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    if isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        return [node.target]
    return []


def _calls_at_top(function: ast.AST) -> Iterator[ast.Call]:
    """Calls of the function itself, without those of functions defined inside it: those run as tasks."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Call):
            yield node
        yield from _calls_at_top(node)


def _is_zero(call: ast.Call) -> bool:
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def _asserts(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2].lstrip("_")
            if name in {"raises", "warns", "fail", "skip"} or name.startswith(("assert", "check", "expect")):
                return True
    return False
