"""Saving the scheduler's journal into a file."""

from __future__ import annotations

import gzip
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ...base.errors import UsageError
from ...base.private_files import writing_private


async def save_journal(call: Callable[..., Awaitable[Any]], path: str | os.PathLike[str]) -> None:
    """Ask for the journal part by part, so that the scheduler can do its work in between.

    Parameters
    ----------
    call : callable
        Calls methods of the scheduler by name.
    path : str or path
        What to write; readable by its owner only, and compressed.

    Raises
    ------
    UsageError
        There is no journal, or the file cannot be written.
    """
    await call("journal_begin")
    try:
        with writing_private(Path(path)) as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            while (part := await call("journal_part")) is not None:
                packed.write(part)
    except OSError as error:
        raise UsageError(f"cannot write the journal to {os.fspath(path)}: {error.strerror or error}") from error
