"""Several hosts on this machine: network namespaces around a switch, which can be told to lose what it should forward.

Needs root. Nothing of the machine's own network is touched, and no packet can leave: the switch is in a namespace as well.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from . import observe
from .clusters import ByHand, Cluster, expect_nothing_left, talker, workshop
from .proxy import MARK
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

    @contextmanager
    def slow_wires(self, hosts: Iterable[int], delay: float, jitter: float) -> Iterator[None]:
        """Have what these hosts send and receive delayed by so many seconds, more or less."""
        with ExitStack() as stack:
            for host in hosts:
                _run(*self.inside(host), "ethtool", "-K", "eth0", *"tx off sg off tso off gso off gro off".split())
                options = (f"p{host}", "--delay", str(delay), "--jitter", str(jitter))
                stack.enter_context(helper("tests.faults.wire", *options, inside=("ip", "netns", "exec", self.switch)))
            yield

    @contextmanager
    def chaos(self, hosts: Iterable[int]) -> Iterator[list[subprocess.Popen[str]]]:
        """Lead all connections that these hosts make to others through proxies, which break them when told to."""
        with ExitStack() as stack:
            proxies = []
            for host in hosts:
                inside = self.inside(host)
                proxies.append(stack.enter_context(helper("tests.faults.proxy", "7777", str(host), inside=inside)))
                for rule in (
                    "add table ip faults",
                    "add chain ip faults output { type nat hook output priority -100 ; }",
                    f"add rule ip faults output ip daddr 10.77.0.0/24 meta mark != {MARK} tcp dport > 1023 redirect to :7777",
                ):
                    _run(*inside, "nft", rule)
                stack.callback(_run, *inside, "nft", "delete table ip faults")
            yield proxies

    def _switch(self, *command: str) -> None:
        _run("ip", "netns", "exec", self.switch, *command)

    def _nft(self, command: str) -> None:
        self._switch("nft", command)


@contextmanager
def helper(module: str, *arguments: str, inside: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    """A program of ours that runs in a namespace until its standard input ends."""
    with talker([*inside, sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE) as program:
        try:
            program.hear("up")
        except RuntimeError as error:
            raise UnavailableError(f"{module} cannot run here") from error
        yield program.process
        assert program.process.stdin is not None
        program.process.stdin.close()
        program.process.wait(10)


def tell(process: subprocess.Popen[str], command: str) -> int:
    """Give a proxy a command; the connections it has broken so far."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(command + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UnavailableError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
    return result.stdout


def _check_tools() -> None:
    if os.geteuid() != 0:
        raise UnavailableError("network namespaces need root")
    missing = [tool for tool in ("ip", "nft", "tc", "ethtool") if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"{', '.join(missing)} missing; on Debian: apt-get install iproute2 nftables ethtool")


class Networked(Cluster):
    """A scheduler on host 1, where this process is as well, and a worker ``w2`` on host 2, ``w3`` on host 3, and so on."""

    hosts: Hosts
    commands: ByHand
    #: one per host, if there are any
    proxies: list[subprocess.Popen[str]]


@contextmanager
def networked(
    workers: int, threads: int = 1, *, delay: float = 0.0, jitter: float = 0.0, chaos: bool = False
) -> Iterator[Networked]:
    """A cluster over several hosts, encrypted as by default; nothing may be left of it."""
    with ExitStack() as stack:
        folder, token = stack.enter_context(workshop())
        hosts = stack.enter_context(Hosts(workers + 1))
        hosts.enter(1)
        stack.callback(lambda: observe.end_all(observe.marked(token)))
        # Before there is any connection, for what is connected already is not led elsewhere.
        proxies = stack.enter_context(hosts.chaos(range(1, workers + 2))) if chaos else []
        commands = ByHand(folder, hosts.address(1))
        stack.callback(lambda: expect_nothing_left(token, besides=[proxy.pid for proxy in proxies]))
        stack.callback(commands.close)
        if delay:
            stack.enter_context(hosts.slow_wires(range(2, workers + 2), delay, jitter))
        for host in range(2, workers + 2):
            commands.start_worker(f"w{host}", inside=hosts.inside(host), threads=threads)
        with commands.connect() as client:
            cluster = Networked(client, folder)
            cluster.hosts, cluster.commands, cluster.proxies = hosts, commands, proxies
            cluster.wait_for_workers(workers)
            yield cluster
