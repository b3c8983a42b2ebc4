"""One file per measured system."""

from __future__ import annotations

import importlib
import importlib.util

from .base import System, Unsupported

#: name: (module here, class, what must be installed)
KNOWN = {
    "myscheduler": ("myscheduler", "MyScheduler", "myscheduler"),
    "distributed": ("distributed", "Distributed", "distributed"),
    "ray": ("ray", "Ray", "ray"),
    "futures": ("futures", "Futures", "concurrent.futures"),
}

__all__ = ["KNOWN", "System", "Unsupported", "installed", "load"]


def installed(name: str) -> bool:
    """Can this system be measured here?"""
    return importlib.util.find_spec(KNOWN[name][2]) is not None


def load(name: str) -> System:
    """Make the adapter of a system; it starts nothing yet."""
    module, class_name, _ = KNOWN[name]
    system = getattr(importlib.import_module(f".{module}", __name__), class_name)()
    assert isinstance(system, System)
    return system
