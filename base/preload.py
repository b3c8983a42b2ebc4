"""``--preload``: the operator's own Python, run before a server does its work."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import UsageError

logger = logging.getLogger(__name__)


class Preloads:
    """Modules whose ``setup(server)`` and ``teardown(server)`` are called, both plain or ``async``.

    Parameters
    ----------
    names : sequence of str
        Files that end in ``.py``, or modules that can be imported.

    Raises
    ------
    UsageError
        There is no such file or module.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._modules = [_load(name) for name in names]

    async def setup(self, server: Any) -> None:
        """Call every ``setup``, in order; their errors end the start."""
        for module in self._modules:
            await _call(module, "setup", server)

    async def teardown(self, server: Any) -> None:
        """Call every ``teardown``, last first; an error is logged and the others still run."""
        for module in reversed(self._modules):
            try:
                await _call(module, "teardown", server)
            except Exception:
                logger.exception("teardown of %s failed", module.__name__)


async def _call(module: ModuleType, name: str, server: Any) -> None:
    function = getattr(module, name, None)
    if function is not None:
        result = function(server)
        if inspect.isawaitable(result):
            await result


def _load(name: str) -> ModuleType:
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise UsageError(f"--preload {name}: {error}; for a file, write its path with .py") from None
    path = Path(name).resolve()
    if not path.is_file():
        raise UsageError(f"--preload {name}: there is no such file")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Pickles of what it defines name it, so it must be found.
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return module
