"""Several hosts on this machine: network namespaces around a switch, which can be told to lose what it should forward.

Needs root. Nothing of the machine's own network is touched, and no packet can leave: the switch is in a namespace as well.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from . import observe
from .clusters import ByHand, Cluster, expect_nothing_left
from .rows import UnavailableError

_CLONE_NEWNET = 0x40000000


class Hosts:
    """Hosts 1 to ``count``, at 10.77.0.1 and so on.

    Parameters
    ----------
    count : int
        How many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._prefix = f"msf{os.getpid()}"
        self.switch = f"{self._prefix}sw"
        self._rules = 0

    def __enter__(self) -> Hosts:
        _check_tools()
        self._up()
        return self

    def __exit__(self, *_: object) -> None:
        for name in (*map(self.name, range(1, self.count + 1)), self.switch):
            pids = map(int, _run("ip", "netns", "pids", name).split())
            observe.end_all(pid for pid in pids if pid != os.getpid())
            _run("ip", "netns", "delete", name)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)

    def name(self, host: int) -> str:
        """Of its namespace."""
        return f"{self._prefix}h{host}"

    def inside(self, host: int) -> tuple[str, ...]:
        """What to put before a command that is to run on a host."""
        return ("ip", "netns", "exec", self.name(host))

    @staticmethod
    def address(host: int) -> str:
        """Of a host."""
        return f"10.77.0.{host}"

    def _up(self) -> None:
        _run("ip", "netns", "add", self.switch)
        self._switch("ip", "link", "set", "lo", "up")
        self._switch("ip", "link", "add", "br0", "type", "bridge")
        self._switch("ip", "link", "set", "br0", "up")
        for host in range(1, self.count + 1):
            name, port = self.name(host), f"p{host}"
            _run("ip", "netns", "add", name)
            self._switch("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            self._switch("ip", "link", "set", port, "master", "br0", "up")
            for command in ("link set lo up", f"addr add {self.address(host)}/24 dev eth0", "link set eth0 up"):
                _run("ip", "-n", name, *command.split())
        self._nft("add table bridge faults")
        self._nft("add chain bridge faults forward { type filter hook forward priority 0 ; }")

    def enter(self, host: int) -> None:
        """Let this process live on a host from now on: all threads that it starts will."""
        with open(f"/run/netns/{self.name(host)}") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def drop(self, *pairs: tuple[int, int], percent: int = 100) -> None:
        """Lose what is sent from a host to another, silently: all, or some of it at random."""
        some = "" if percent == 100 else f"numgen random mod 100 < {percent} "
        for source, target in pairs:
            self._nft(f"add rule bridge faults forward iifname p{source} oifname p{target} {some}drop")

    def cut(self, host: int) -> None:
        """Lose all that is sent to a host and from it."""
        others = [other for other in range(1, self.count + 1) if other != host]
        self.drop(*((host, other) for other in others), *((other, host) for other in others))

    def heal(self) -> None:
        """Lose nothing any more."""
        self._nft("flush chain bridge faults forward")

    def limit_rate(self, host: int, rate: str) -> None:
        """Let no more than this, like ``1mbit``, through from and to a host."""
        shape = ("root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms")
        self._switch("tc", "qdisc", "replace", "dev", f"p{host}", *shape)
        _run(*self.inside(host), "tc", "qdisc", "replace", "dev", "eth0", *shape)

    def _switch(self, *command: str) -> None:
        _run("ip", "netns", "exec", self.switch, *command)

    def _nft(self, command: str) -> None:
        self._switch("nft", command)


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UnavailableError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
    return result.stdout


def _check_tools() -> None:
    if os.geteuid() != 0:
        raise UnavailableError("network namespaces need root")
    missing = [tool for tool in ("ip", "nft", "tc") if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"{', '.join(missing)} missing; on Debian: apt-get install iproute2 nftables")


class Networked(Cluster):
    """A scheduler on host 1, where this process is as well, and a worker ``w2`` on host 2, ``w3`` on host 3, and so on."""

    hosts: Hosts
    commands: ByHand


@contextmanager
def networked(workers: int, threads: int = 1) -> Iterator[Networked]:
    """A cluster over several hosts, encrypted as by default; nothing may be left of it."""
    token = observe.mark()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="myscheduler-faults-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        hosts = stack.enter_context(Hosts(workers + 1))
        hosts.enter(1)
        stack.callback(lambda: observe.end_all(observe.marked(token)))
        commands = ByHand(folder, hosts.address(1))
        stack.callback(expect_nothing_left, token)
        stack.callback(commands.close)
        for host in range(2, workers + 2):
            commands.start_worker(f"w{host}", inside=hosts.inside(host), threads=threads)
        with commands.connect() as client:
            cluster = Networked(client, folder)
            cluster.hosts, cluster.commands = hosts, commands
            cluster.wait_for_workers(workers)
            yield cluster
