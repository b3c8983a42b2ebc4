"""A temporary directory, made when it is first asked for."""

from __future__ import annotations

import shutil
import tempfile
from threading import Lock


class Scratch:
    """The temporary directory of one worker.

    Parameters
    ----------
    parent : str, optional
        Where it is made; default: the system's place for such.

    Examples
    --------
    >>> scratch = Scratch()
    >>> scratch.path == scratch.path
    True
    >>> scratch.remove()
    """

    def __init__(self, parent: str | None = None) -> None:
        self._parent = parent
        self._path: str | None = None
        self._lock = Lock()

    @property
    def path(self) -> str:
        """Where it is; from any thread."""
        with self._lock:  # tasks of several threads may ask at once
            if self._path is None:
                self._path = tempfile.mkdtemp(prefix="myscheduler-worker-", dir=self._parent)
            return self._path

    def remove(self) -> None:
        """Remove it with all that is in it, if it was made."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
