"""What users install is what the repository holds: the wheel is built, installed elsewhere and imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.repository import ROOT, package_files, shipped_files, tracked_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = """
import importlib, importlib.metadata, pathlib, pkgutil, sys
import myscheduler
here = pathlib.Path(myscheduler.__file__).parent
assert here.is_relative_to(sys.prefix), here
assert (here / "py.typed").is_file()
assert importlib.metadata.version("myscheduler") == myscheduler.__version__
for module in pkgutil.walk_packages(myscheduler.__path__, "myscheduler."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a wheel and a source distribution, built from a copy of the tracked files."""
    copy = tmp_path_factory.mktemp("source")
    for name in tracked_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(copy / "dist"), str(copy)])
    return copy / "dist"


def test_the_wheel_holds_the_folders_and_nothing_else(distributions: Path) -> None:
    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {f"myscheduler/{path}" for path in shipped_files()}
    assert names == expected, f"differ in {sorted(names ^ expected)}"


def test_the_source_distribution_is_complete(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = {*shipped_files(), "LICENSE", "README.md", "pyproject.toml"} - names
    assert not missing, f"missing in the source distribution: {sorted(missing)}"


def test_an_empty_environment_can_import_every_module(distributions: Path, tmp_path: Path) -> None:
    """The declared dependencies suffice, and nothing is picked up from the checkout."""
    venv.create(tmp_path / "venv")
    bin_folder = tmp_path / "venv" / "bin"
    empty = tmp_path / "empty"
    empty.mkdir()
    wheel = next(distributions.glob("*.whl"))
    # The pip that is here, and nothing compiled ahead: a pip of its own and thousands of unused files would take longer.
    pip = [sys.executable, "-m", "pip", "--python", str(bin_folder / "python")]
    run([*pip, "install", "--quiet", "--no-compile", str(wheel)], cwd=empty)
    imported = run([str(bin_folder / "python"), "-I", "-c", PROGRAM], cwd=empty).split()
    modules = [path for path in package_files() if path != "__init__.py" and not path.endswith("__main__.py")]
    assert len(imported) == len(modules)
    for command in ("myscheduler", "myworker"):
        assert "Usage" in run([str(bin_folder / command), "--help"], cwd=empty)


def run(command: list[str], cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    return result.stdout
