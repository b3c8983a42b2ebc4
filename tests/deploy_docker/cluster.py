"""The cluster of docker-compose.yml, driven from outside as its user would."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from myscheduler import Client

from .engine import ROOT, run

#: Who owns the credentials and hence runs the containers, if root runs the tests.
ORDINARY_USER: Final = 1000


def free_port(wish: int) -> int:
    """The port that is published by default, or another one if somebody has it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", wish))
        except OSError:
            sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], Any], timeout: float, what: str) -> Any:
    """Wait for something true; it is returned."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.1)


class Cluster:
    """One project of Compose with a name, an image and credentials of its own.

    Parameters
    ----------
    folder : Path
        Empty, for the credentials.
    compose : tuple of str
        The command.
    base : str
        Image to build on.
    """

    def __init__(self, folder: Path, compose: tuple[str, ...], base: str) -> None:
        self.project = f"myscheduler-test-{os.getpid()}"
        self.image = f"{self.project}-image"
        self.base = base
        self.uid, self.gid = os.getuid() or ORDINARY_USER, os.getgid() or ORDINARY_USER
        # Two copies of one file: theirs, which belongs to the user of the containers, and ours.
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.credentials = folder / "own.json"
        if os.getuid() == 0:
            folder.chmod(0o711)
            os.chown(self.shared, self.uid, self.gid)
        port, dashboard_port = free_port(8786), free_port(8787)
        self.address = f"tcp://127.0.0.1:{port}"
        self.inside = f"tcp://scheduler:{port}"
        self.dashboard = f"127.0.0.1:{dashboard_port}"
        self._compose = (*compose, "--file", str(ROOT / "docker-compose.yml"), "--project-name", self.project)
        self._environment = {
            "MYSCHEDULER_IMAGE": self.image,
            "MYSCHEDULER_PORT": str(port),
            "MYSCHEDULER_DASHBOARD_PORT": str(dashboard_port),
            "MYSCHEDULER_USER": f"{self.uid}:{self.gid}",
            "MYSCHEDULER_CREDENTIALS": str(self.shared / "cluster.json"),
        }
        os.environ["MYSCHEDULER_CREDENTIALS_FILE"] = str(self.credentials)

    # ---- the commands of the documentation ------------------------------------------------------------------------------

    def build(self) -> None:
        """Build the image, with a name for each stage, so that both can be removed."""
        argument = f"PYTHON={self.base}"
        for options in (["--target", "build", "--tag", f"{self.image}-build"], ["--tag", self.image]):
            run("docker", "build", "--build-arg", argument, *options, str(ROOT), timeout=1200)

    def make_credentials(self) -> str:
        """The one step before the first start."""
        printed = run(
            *("docker", "run", "--rm", "--user", f"{self.uid}:{self.gid}", "--volume", f"{self.shared}:/out"),
            *(self.image, "myscheduler", "--write-credentials", "/out/cluster.json"),
        )
        shutil.copy(self.shared / "cluster.json", self.credentials)
        self.credentials.chmod(0o600)
        return printed

    def compose(self, *arguments: str, timeout: float = 120, check: bool = True) -> str:
        """Compose with this project's files and names."""
        return run(*self._compose, *arguments, timeout=timeout, check=check, env=self._environment)

    def up(self, workers: int = 3, wait: bool = True) -> None:
        """Bring it up, or what is missing of it."""
        options = ["--wait", "--wait-timeout", "90"] if wait else []
        self.compose("up", "--detach", "--no-build", *options, "--scale", f"worker={workers}")

    def down(self) -> None:
        """Take everything away."""
        self.compose("down", "--volumes", "--timeout", "20", check=False)

    def remove_images(self) -> None:
        """What ``build`` made."""
        run("docker", "image", "rm", "--force", self.image, f"{self.image}-build", check=False)

    def logs(self, service: str = "") -> str:
        """The last lines of all containers, or of one service's."""
        return self.compose("logs", "--no-color", "--tail", "40", *filter(None, [service]), check=False)

    # ---- containers -----------------------------------------------------------------------------------------------------

    def containers(self, service: str = "", everything: bool = False) -> list[str]:
        """Ids, in full; of those that run, or of everything that is left of the project."""
        filters = [f"--filter=label=com.docker.compose.project={self.project}"]
        filters += [f"--filter=label=com.docker.compose.service={service}"] if service else []
        return run("docker", "ps", "--quiet", "--no-trunc", *(["--all"] if everything else []), *filters).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """All the engine knows about a container."""
        (found,) = json.loads(run("docker", "inspect", container, stderr=False))
        return dict(found)

    def execute(self, container: str, script: str, check: bool = True) -> str:
        """Run Python inside of a container."""
        return run("docker", "exec", container, "python", "-c", script, check=check)

    def signal(self, container: str, program: str, name: str) -> None:
        """Send a signal to the processes of a container whose command line holds ``program``, from inside, as they would."""
        self.execute(
            container,
            "import os, signal, pathlib\n"
            "for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
            "    pid = int(path.parent.name)\n"
            f"    if pid not in (1, os.getpid()) and {program!r} in path.read_text():\n"
            f"        os.kill(pid, signal.{name})\n",
            check=False,  # the container may be gone before the answer
        )

    def worker_of(self, address: str) -> str:
        """The container in which the worker with this address runs."""
        host = address.removeprefix("tcp://").rpartition(":")[0]
        for container in self.containers("worker"):
            networks = self.inspect(container)["NetworkSettings"]["Networks"]
            if any(network["IPAddress"] == host for network in networks.values()):
                return container
        raise AssertionError(f"no container has the address {host}")

    # ---- the client -----------------------------------------------------------------------------------------------------

    def client(self, workers: int = 3) -> Client:
        """A client outside of the containers, once so many workers are there."""
        client = Client(self.address)
        client.wait_for_workers(workers, timeout=60)
        return client
