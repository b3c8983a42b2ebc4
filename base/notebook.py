"""Whether what we print is shown on a web page, where it can be replaced."""

from __future__ import annotations

import sys
from typing import TextIO


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook."""
    # Whoever runs in one has imported it; nobody else should pay for that.
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return getattr(shell, "kernel", None) is not None


def can_rewrite_lines(out: TextIO) -> bool:
    """Whether a carriage return goes back to the beginning of the line, instead of into a file.

    Parameters
    ----------
    out : text file
        Such as ``sys.stdout``.
    """
    return out.isatty() or (out is sys.stdout and in_notebook())
