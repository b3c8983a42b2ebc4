"""Starting clusters: ``LocalCluster`` and the processes behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .local import LocalCluster

__all__ = ["LocalCluster"]


def __getattr__(name: str) -> Any:
    # The commands use parts of this package and no client; they should not pay for importing one.
    if name == "LocalCluster":
        from .local import LocalCluster

        return LocalCluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
