"""Files and directories that only their owner can read and write, checked before anything in them is believed."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from .errors import AuthenticationError, ConnectionFailedError

#: A scheduler file is a name, an address, three secrets and five certificates; anything larger is something else.
FILE_BYTES_MAX: Final = 64 * 1024
#: Names a directory other than ``~/.myscheduler``.
HOME_VARIABLE: Final = "MYSCHEDULER_HOME"


@contextmanager
def writing_private(path: Path) -> Iterator[BinaryIO]:
    """A file to write, under a temporary name that nobody can guess or prepare; it takes its place if the block ends well.

    Readers see all or nothing.
    """
    path = Path(os.path.abspath(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_private(path: Path, content: dict[str, Any]) -> Path:
    """Write JSON, see ``writing_private``; the absolute path."""
    with writing_private(path) as file:
        file.write(json.dumps(content, indent=1).encode())
    return Path(os.path.abspath(path))


def read_private(path: str) -> dict[str, Any]:
    """Read what ``write_private`` wrote, if nobody else could have read or written it.

    Raises
    ------
    ConnectionFailedError
        There is no such file.
    AuthenticationError
        It is a symbolic link, no regular file, not ours, open to group or others, or holds something else.
    """
    # O_NONBLOCK: opening a FIFO that somebody put there must not hang.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConnectionFailedError(
            f"there is no scheduler file {path}; `myscheduler --scheduler-file {path}` writes it when it starts"
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AuthenticationError(f"scheduler file {path} is a symbolic link; name the file itself") from None
        raise AuthenticationError(f"cannot read scheduler file {path}: {error.strerror}") from error
    try:
        _check(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    try:
        content = json.loads(data) if len(data) <= FILE_BYTES_MAX else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("myscheduler") != 1:
        raise AuthenticationError(f"{path} is no scheduler file of this version of myscheduler")
    return content


def _check(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise AuthenticationError(f"scheduler file {path} is no regular file")
    if status.st_uid != os.geteuid():
        raise AuthenticationError(
            f"scheduler file {path} belongs to user {status.st_uid}, not to you (user {os.geteuid()}): whoever can "
            f"write it decides which cluster runs code in your name; copy it and own the copy"
        )
    if status.st_mode & 0o077:
        raise AuthenticationError(
            f"scheduler file {path} has mode {stat.S_IMODE(status.st_mode):04o}: others may have read its secrets; "
            f"start the cluster again with new ones, or if you know better: chmod 600 {path}"
        )


def private_directory(path: Path, forbidden: int) -> Path:
    """Make a directory for ourselves, or check the one that is there.

    Parameters
    ----------
    path : Path
        Where.
    forbidden : int
        Bits its mode must not have.

    Raises
    ------
    AuthenticationError
        It cannot be made, is not ours, or has a forbidden bit.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise AuthenticationError(
            f"cannot use {path} for credentials: {error.strerror}; set {HOME_VARIABLE} to a directory of yours"
        ) from error
    if status.st_uid != os.geteuid():
        raise AuthenticationError(
            f"{path} belongs to user {status.st_uid}, not to you; set {HOME_VARIABLE} to a directory of yours"
        )
    if status.st_mode & forbidden:
        raise AuthenticationError(f"{path} is open to other users; close it: chmod 700 {path}")
    return path
