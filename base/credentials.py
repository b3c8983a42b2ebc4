"""Who may talk to a cluster: its secrets, and the files in which they travel from one process to the next.

Secrets are 32 random bytes per role, never passwords, and for open networks a certificate per role. They live in memory,
in files that only their owner can read, and in inherited pipes; never in argv, the environment (which holds at most the
*path* of a file), logs, ``repr`` or pickles.
"""

from __future__ import annotations

import os
import secrets as random_secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

from .certificates import LIFETIME_S, Certificates, issue
from .errors import AuthenticationError, ConnectionFailedError, SerializationError
from .private_files import HOME_VARIABLE, private_directory, read_private, write_private

#: The roles that prove themselves with a secret. The scheduler proves itself with the secret of its peer's role.
ROLES: Final = ("client", "worker", "observer")
#: Bytes of one secret, and of the random name of a cluster.
SECRET_BYTES: Final = 32
CLUSTER_BYTES: Final = 16
#: Where schedulers listen unless told otherwise.
DEFAULT_PORT: Final = 8786
#: Names a file with credentials that is read instead of searching for the cluster's own.
FILE_VARIABLE: Final = "MYSCHEDULER_CREDENTIALS_FILE"

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Credentials:
    """The secrets of one cluster, or as many of them as the holder's role needs.

    Parameters
    ----------
    cluster : str
        The cluster's random name, 32 hexadecimal digits. Not secret.
    secrets : mapping of str to bytes
        For each role in ``ROLES`` that the holder may take or check, 32 bytes.
    certificates : Certificates, optional
        For ``tls://`` addresses, by role as well; ``certified`` adds them.

    Raises
    ------
    AuthenticationError
        The name or a secret has the wrong length, or a role is unknown.

    Examples
    --------
    >>> credentials = Credentials.generate()
    >>> sorted(credentials.secrets)
    ['client', 'observer', 'worker']
    >>> print(repr(credentials).replace(credentials.cluster, "..."))
    Credentials(cluster='...', client=<secret>, worker=<secret>, observer=<secret>)
    >>> sorted(credentials.restricted("observer").secrets)
    ['observer']
    """

    cluster: str
    secrets: Mapping[str, bytes]
    certificates: Certificates | None = None

    def __post_init__(self) -> None:
        if len(self.cluster) != 2 * CLUSTER_BYTES or not all(c in "0123456789abcdef" for c in self.cluster):
            raise AuthenticationError(
                f"the name of a cluster is {2 * CLUSTER_BYTES} hexadecimal digits, not {self.cluster[:64]!r}"
            )
        for role, secret in self.secrets.items():
            if role not in ROLES:
                raise AuthenticationError(f"{role!r} is no role; the roles are {', '.join(ROLES)}")
            if len(secret) != SECRET_BYTES:
                raise AuthenticationError(f"the secret for {role}s has {len(secret)} bytes, not {SECRET_BYTES}")
        object.__setattr__(self, "secrets", MappingProxyType(dict(self.secrets)))

    @classmethod
    def generate(cls) -> Credentials:
        """New random credentials for a new cluster."""
        return cls(
            random_secrets.token_hex(CLUSTER_BYTES), {role: random_secrets.token_bytes(SECRET_BYTES) for role in ROLES}
        )

    def certified(self, lifetime: float = LIFETIME_S) -> Credentials:
        """The same secrets with new certificates, by a new authority: who holds older ones is not let in any more.

        Parameters
        ----------
        lifetime : float
            Seconds until they expire.
        """
        return Credentials(self.cluster, self.secrets, issue(self.cluster, lifetime))

    def restricted(self, *roles: str) -> Credentials:
        """The same cluster with the secrets and certificates of ``roles`` only, to hand to somebody who needs no more.

        Raises
        ------
        AuthenticationError
            These credentials have no secret for one of the roles.
        """
        certificates = None if self.certificates is None else self.certificates.restricted(*roles)
        return Credentials(self.cluster, {role: self.secret(role) for role in roles}, certificates)

    def secret(self, role: str) -> bytes:
        """The secret of ``role``; AuthenticationError if it is not among these."""
        try:
            return self.secrets[role]
        except KeyError:
            raise AuthenticationError(
                f"these credentials hold no secret for {role}s, only for {', '.join(self.secrets) or 'nobody'}; "
                "use a scheduler file that has it"
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """For JSON in a private file or pipe; the result holds the secrets in the clear."""
        secrets = {role: secret.hex() for role, secret in self.secrets.items()}
        certificates = {} if self.certificates is None else {"certificates": self.certificates.to_dict()}
        return {"cluster": self.cluster, "secrets": secrets, **certificates}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Credentials:
        """What ``to_dict`` made; AuthenticationError if it is anything else."""
        try:
            cluster, secrets = str(data["cluster"]), dict(data["secrets"])
            certificates = data.get("certificates")
            return cls(
                cluster,
                {str(role): bytes.fromhex(text) for role, text in secrets.items()},
                None if certificates is None else Certificates.from_dict(certificates),
            )
        except (KeyError, TypeError, ValueError):
            # Without the cause: its text could quote the secret.
            raise AuthenticationError(
                "these are no credentials: expected a cluster and a hexadecimal secret per role"
            ) from None

    def __repr__(self) -> str:
        certificates = "" if self.certificates is None else ", certificates=<secret>"
        secrets = "".join(f", {role}=<secret>" for role in self.secrets)
        return f"Credentials(cluster={self.cluster!r}{secrets}{certificates})"

    def __reduce__(self) -> NoReturn:
        raise SerializationError(
            "Credentials are not pickled, so that secrets cannot travel inside tasks or results; "
            "pass the path of a scheduler file instead"
        )


@dataclass(frozen=True)
class SchedulerFile:
    """What a scheduler file says.

    Parameters
    ----------
    address : str
        Where the scheduler listens, ``tcp://host:port`` or ``tls://host:port``; empty when the file was made before any
        scheduler ran.
    credentials : Credentials
        The secrets.
    dashboard : str, optional
        The dashboard's link, with its token.
    """

    address: str
    credentials: Credentials
    dashboard: str | None = None

    def dial(self, address: str) -> str:
        """Another spelling of the scheduler's address, with the scheme that it speaks: ``tls`` if the file says so.

        If the file names no address, one without a scheme means ``tls`` where schedulers speak it by default: with
        certificates, and not on the loopback interface.

        Examples
        --------
        >>> SchedulerFile("tls://head:8786", Credentials.generate()).dial("tcp://10.0.0.5:8786")
        'tls://10.0.0.5:8786'
        >>> SchedulerFile("", Credentials.generate().certified()).dial("10.0.0.5")
        'tls://10.0.0.5'
        """
        scheme, separator, rest = address.rpartition("://")
        if self.address:
            encrypted = self.address.startswith("tls://")
        else:
            encrypted = not separator and self.credentials.certificates is not None and not _is_loopback(rest)
        return f"{'tls' if encrypted and scheme in ('', 'tcp') else scheme or 'tcp'}://{rest}"


# ---- files ----------------------------------------------------------------------------------------------------------


def write_scheduler_file(
    path: str | os.PathLike[str], address: str, credentials: Credentials, dashboard: str | None = None
) -> Path:
    """Write a file with which workers and clients find a scheduler and prove themselves to it.

    The file appears at once and whole, with mode 0600; an older file of that name is replaced.

    Parameters
    ----------
    path : path
        Where to write.
    address : str
        The address others should dial, or ``""`` if it is not known yet.
    credentials : Credentials
        The secrets to hand on; ``credentials.restricted("worker", "client")`` hands on fewer.
    dashboard : str, optional
        The dashboard's link.

    Returns
    -------
    Path
        ``path``, absolute.

    Examples
    --------
    >>> import tempfile
    >>> directory = tempfile.mkdtemp()
    >>> path = write_scheduler_file(f"{directory}/cluster.json", "tcp://127.0.0.1:8786", Credentials.generate())
    >>> read_scheduler_file(path).address
    'tcp://127.0.0.1:8786'
    """
    return write_private(Path(path), _content(address, credentials, dashboard))


def read_scheduler_file(path: str | os.PathLike[str]) -> SchedulerFile:
    """Read what ``write_scheduler_file`` wrote, if nobody else could have read or written it.

    Raises
    ------
    ConnectionFailedError
        There is no such file.
    AuthenticationError
        The file is a symbolic link, no regular file, not ours, open to group or others, or holds something else.
    """
    return _parse(os.fspath(path), read_private(os.fspath(path)))


def _content(address: str, credentials: Credentials, dashboard: str | None) -> dict[str, Any]:
    return {"myscheduler": 1, "address": address, **credentials.to_dict(), "dashboard": dashboard}


def _parse(path: str, content: dict[str, Any]) -> SchedulerFile:
    try:
        credentials = Credentials.from_dict(content)
    except AuthenticationError as error:
        raise AuthenticationError(f"scheduler file {path}: {error}") from None
    address, dashboard = content.get("address"), content.get("dashboard")
    return SchedulerFile(str(address or ""), credentials, None if dashboard is None else str(dashboard))


# ---- the user's own directory ---------------------------------------------------------------------------------------


def user_directory() -> Path:
    """The directory for what belongs to the user: ``$MYSCHEDULER_HOME`` or ``~/.myscheduler``; made if it is missing.

    Raises
    ------
    AuthenticationError
        It is not ours, or others can write into it.
    """
    configured = os.environ.get(HOME_VARIABLE)
    path = Path(configured) if configured else Path.home() / ".myscheduler"
    return private_directory(path, 0o022)


def _clusters_directory() -> Path:
    return private_directory(user_directory() / "clusters", 0o077)


def published_path(address: str) -> Path:
    """Where a scheduler with this address publishes, or has published, its credentials."""
    return _clusters_directory() / _file_name(*_split(address))


def publish_cluster(address: str, credentials: Credentials, dashboard: str | None = None) -> Path:
    """Let the same user's workers and clients on this machine (or with this home) find a scheduler by its address alone.

    Returns
    -------
    Path
        The file that was written; hand it to ``withdraw_cluster`` when the scheduler closes.
    """
    content = _content(address, credentials, dashboard) | {"host": socket.gethostname(), "pid": os.getpid()}
    return write_private(published_path(address), content)


def withdraw_cluster(path: str | os.PathLike[str]) -> None:
    """Remove what ``publish_cluster`` wrote, unless a later scheduler has published itself there meanwhile."""
    try:
        content = read_private(os.fspath(path))
    except ConnectionFailedError:
        return
    if content.get("pid") == os.getpid() and content.get("host") == socket.gethostname():
        os.unlink(path)


def find_cluster(address: str | None = None) -> SchedulerFile:
    """Find the credentials for a scheduler that this user started, without being told where they are.

    If ``$MYSCHEDULER_CREDENTIALS_FILE`` names a file, that one is read. Otherwise the published clusters are searched.

    Parameters
    ----------
    address : str, optional
        ``tcp://host:port``, ``host:port`` or ``host``. Without it, the cluster that was published last and, as far
        as can be seen from here, still runs.

    Returns
    -------
    SchedulerFile
        Its ``address`` is ``address`` if that was given.

    Raises
    ------
    AuthenticationError
        No credentials are known for that address.
    ConnectionFailedError
        No address was given and no scheduler is known.
    """
    configured = os.environ.get(FILE_VARIABLE)
    if configured:
        found = read_scheduler_file(configured)
        if not (address or found.address):
            raise ConnectionFailedError(f"{configured} (from {FILE_VARIABLE}) names no address; give the scheduler's")
        address = found.dial(address) if address else found.address
        return SchedulerFile(address, found.credentials, found.dashboard)
    if address is None:
        return _newest_cluster()
    host, port = _split(address)
    path = published_path(address)
    if path.exists():
        found = read_scheduler_file(path)
    else:
        found = _same_port_here(host, port) or _no_credentials(address)
    return SchedulerFile(found.dial(address), found.credentials, found.dashboard)


def _newest_cluster() -> SchedulerFile:
    for path, content in _published():
        if _may_run(content):
            return _parse(str(path), content)
    raise ConnectionFailedError(
        "no running scheduler of yours is known on this machine; start one with `myscheduler`, or give an address"
    )


def _same_port_here(host: str, port: str) -> SchedulerFile | None:
    """A scheduler that listens on all interfaces has published another name than the loopback one that is asked for."""
    for path, content in _published() if host in _LOOPBACK else ():
        same_port = _split(str(content.get("address", "")))[1] == port
        if same_port and content.get("host") == socket.gethostname() and _may_run(content):
            return _parse(str(path), content)
    return None


def _no_credentials(address: str) -> NoReturn:
    raise AuthenticationError(
        f"no credentials for {address}: no scheduler of yours has published that address in {_clusters_directory()}. "
        "If it runs on another machine, copy its scheduler file here and give that "
        "(`myworker --scheduler-file FILE`, Client(scheduler_file=FILE))"
    )


def _published() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Published clusters, the newest first. Unsafe files are passed over: they are not the user's word."""
    entries: list[tuple[int, Path]] = []
    for path in _clusters_directory().glob("*.json"):
        try:
            entries.append((path.lstat().st_mtime_ns, path))
        except FileNotFoundError:  # withdrawn while we looked
            continue
    for _, path in sorted(entries, reverse=True):
        try:
            yield path, read_private(str(path))
        except (AuthenticationError, ConnectionFailedError):
            continue


def _may_run(content: dict[str, Any]) -> bool:
    """False only if the publisher certainly is dead: it ran on this machine and its process is gone."""
    pid = content.get("pid")
    if content.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_loopback(address: str) -> bool:
    host = _split(address)[0]
    return host in _LOOPBACK or host.startswith("127.")


def _split(address: str) -> tuple[str, str]:
    """Host and port of an address, normalised so that the usual spellings of one place are one file name."""
    rest = address.partition("://")[2] if "://" in address else address
    host, colon, port = rest.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = rest, str(DEFAULT_PORT)
    return ("127.0.0.1" if host == "localhost" else host.lower(), port)


def _file_name(host: str, port: str) -> str:
    safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in host)
    return f"{safe}-{port}.json"
