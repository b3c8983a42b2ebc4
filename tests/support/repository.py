"""What lies in this repository: its folders, its files, and their syntax trees. For tests about the code itself."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_SHIPPED = ("tests", "benchmarks", "examples", "docs", "changelog.d", "build", "dist")


@functools.cache
def packages() -> tuple[str, ...]:
    """Folders of the package, as paths from the root; the root itself is ``""``."""
    found = [path.parent.relative_to(ROOT) for path in ROOT.rglob("__init__.py")]
    shipped = [path for path in found if not path.parts or not _skipped(path.parts[0])]
    return tuple(sorted("" if not path.parts else path.as_posix() for path in shipped))


@functools.cache
def package_files() -> tuple[str, ...]:
    """Source files of the package, as paths from the root."""
    files = [file.relative_to(ROOT).as_posix() for package in packages() for file in (ROOT / package).glob("*.py")]
    return tuple(sorted(files))


@functools.cache
def shipped_files() -> tuple[str, ...]:
    """Everything that the wheel must hold: sources and the files beside them, as paths from the root."""
    folders = tuple(f"{package}/" for package in packages() if package)
    beside = (path for path in tracked_files() if path.startswith(folders) and not path.endswith(".py"))
    return tuple(sorted((*package_files(), *beside, "py.typed")))


@functools.cache
def pure_files() -> tuple[str, ...]:
    """Source files that may do no I/O: the machines and what they are made of."""
    return tuple(path for path in package_files() if is_pure(path))


def is_pure(path: str) -> bool:
    """Does this source file belong to the pure part?

    >>> [is_pure(path) for path in ("scheduler/state.py", "scheduler/server/daemon.py", "dashboard/model.py")]
    [True, False, True]
    """
    folder = path.rpartition("/")[0]
    return folder in {"graph", "protocol", "scheduler", "worker", "client", "sim"} or path == "dashboard/model.py"


@functools.cache
def tracked_files() -> tuple[str, ...]:
    """Files under version control, or about to be; all files where there is no git."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        names = listing.stdout.splitlines()
    else:
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if not _hidden(path)]
    return tuple(sorted(name for name in names if (ROOT / name).is_file()))


@functools.cache
def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@functools.cache
def tree(path: str) -> ast.Module:
    return ast.parse(read(path), filename=path)


def functions(path: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def module_name(path: str) -> str:
    """The import name of a source file.

    >>> module_name("base/keys.py"), module_name("base/__init__.py"), module_name("__init__.py")
    ('myscheduler.base.keys', 'myscheduler.base', 'myscheduler')
    """
    parts = path.removesuffix(".py").removesuffix("__init__").strip("/").split("/")
    return ".".join(part for part in ("myscheduler", *parts) if part)


def _skipped(name: str) -> bool:
    return name in NOT_SHIPPED or name.startswith(".") or name.endswith(".egg-info") or name == "__pycache__"


def _hidden(path: Path) -> bool:
    return any(
        part.startswith(".") or part in {"__pycache__", "build", "dist"} for part in path.relative_to(ROOT).parts
    )
